//! `completions` and `man`: what a shell and a reader want to know of the command line.

use clap::Args;
use clap_complete::Shell;

use super::Outcome;
use super::screen::put;

#[derive(Args, Clone, Debug)]
pub(crate) struct CompletionsArgs {
    /// Shell
    shell: Shell,
}

pub(super) fn completions(
    args: &CompletionsArgs,
    mut command: clap::Command,
) -> anyhow::Result<Outcome> {
    let mut out = vec![];
    clap_complete::generate(args.shell, &mut command, "mutt-remediation", &mut out);
    put(&String::from_utf8(out)?)?;
    Ok(Outcome::Done)
}

pub(super) fn man(command: clap::Command) -> anyhow::Result<Outcome> {
    put(&page(command)?)?;
    Ok(Outcome::Done)
}

/// One page for the program and all of its commands.
fn page(mut command: clap::Command) -> anyhow::Result<String> {
    command.build();
    let mut out = vec![];
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    let mut text = String::from_utf8(out)?;
    text.push_str(".SH COMMANDS\n");
    for sub in shown(&command) {
        add(&mut text, sub)?;
        for below in shown(sub) {
            add(&mut text, below)?;
        }
    }
    let mut out = vec![];
    man.render_extra_section(&mut out)?;
    man.render_version_section(&mut out)?;
    text.push_str(&String::from_utf8(out)?);
    Ok(text)
}

fn shown(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    let all = command.get_subcommands();
    all.filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

/// A command as a part of the page: its own sections become parts of that.
fn add(text: &mut String, command: &clap::Command) -> anyhow::Result<()> {
    let mut out = vec![];
    let man = clap_mangen::Man::new(command.clone());
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    let name = command.get_display_name().unwrap_or(command.get_name());
    text.push_str(&format!(
        ".SS \"{}\"\n",
        name.replace("mutt-remediation-", "").replace('-', " ")
    ));
    for line in String::from_utf8(out)?.lines() {
        match line.strip_prefix(".SH ") {
            Some("SYNOPSIS" | "DESCRIPTION") => text.push_str(".PP"),
            Some(heading) => text.push_str(&format!(
                ".PP\n\\fI{}\\fR",
                heading.trim_matches('"').to_lowercase()
            )),
            // What groff is told once is enough.
            None if line.starts_with(".ie") || line.starts_with(".el") => continue,
            None => text.push_str(line),
        }
        text.push('\n');
    }
    Ok(())
}
