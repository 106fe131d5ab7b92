# Built by `make image`; works with and without BuildKit.

FROM rust:1.95-bookworm AS builder
WORKDIR /build

# The dependencies are compiled against an empty crate first.
# That layer is reused for as long as the manifest and the lock file stay the same.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin mutt-remediation \
    && rm -r src

# A copied file keeps its time, which is older than the empty crate's: without the touch cargo would call it built.
COPY src src
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin mutt-remediation


# What the binary is made of, beside it and for the tools that look for such a file (docs/image.md).
FROM rust:1.95-bookworm AS sbom
RUN cargo install --locked --debug cargo-cyclonedx@0.5.9
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
# The time that it is said to be made at; `make image` gives that of the commit.
ARG SOURCE_DATE_EPOCH=1767225600
RUN cargo cyclonedx --format json --spec-version 1.5 --no-build-deps \
        --override-filename mutt-remediation.cdx


# glibc, libgcc and the CA certificates; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mutt-remediation" \
      org.opencontainers.image.description="Drains MUTT's dead-letter queue: replays what can be replayed, sets the rest aside, loses nothing" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"

COPY --from=sbom /build/mutt-remediation.cdx.json /usr/share/doc/mutt-remediation/
COPY --from=builder /build/target/release/mutt-remediation /usr/local/bin/mutt-remediation

# Numeric, because Kubernetes cannot check runAsNonRoot against a name.
USER 65532:65532

# Metrics, health, the operator's API.
EXPOSE 8086 8087 8400

STOPSIGNAL SIGTERM

# The binary asks its own /health: there is no shell and no curl to do it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/mutt-remediation", "healthcheck"]

ENTRYPOINT ["/usr/local/bin/mutt-remediation"]
