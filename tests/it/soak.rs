//! A few seconds of what `make soak` does for ten minutes: judged on its accounts alone.

#[expect(dead_code, reason = "the benchmark judges and draws what was used")]
#[path = "../bench/soak/week.rs"]
mod week;

use week::{ROUND, What};

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_short_week_is_in_one_place_and_who_came_has_gone() {
    let outcome = week::live(ROUND).await;
    let accounts = &outcome.accounts;
    assert!(accounts.are_right(), "{accounts:?}");
    assert_eq!(outcome.count(What::RedisTerminated), 1);
    assert!(outcome.count(What::Setting) > 5);
    for (worker, samples) in &outcome.samples {
        let last = samples.last().expect("it was looked at");
        assert!(last.passes > 5.0, "{worker}: {last:?}");
        let calm = samples.iter().filter(|sample| sample.calm);
        let calm = calm
            .map(|sample| sample.tasks)
            .fold(f64::INFINITY, f64::min);
        let most = samples
            .iter()
            .map(|sample| sample.tasks)
            .fold(0.0, f64::max);
        assert!(calm < most, "{worker}: {calm} tasks are left of {most}");
    }
}
