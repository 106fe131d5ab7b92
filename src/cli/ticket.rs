//! A plan's token as the command line prints it: with what it does and to how many messages, so that
//! no purge is run by a slip where a replay was meant. Pure.

use std::fmt;
use std::str::FromStr;

use crate::operate::wire::{Action, PlanView};

/// `ACTION:COUNT:TOKEN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// What the plan does.
    pub(crate) action: Action,
    /// With how many messages.
    pub(crate) count: u64,
    /// What starts it.
    pub(crate) token: String,
}

impl Ticket {
    /// The ticket of a plan.
    pub(crate) fn of(plan: &PlanView) -> Self {
        Self {
            action: plan.action,
            count: plan.would_move,
            token: plan.token.clone(),
        }
    }

    /// The queue that it is about.
    pub(crate) fn queue(&self) -> &str {
        self.token.rsplit_once('.').map_or("", |(queue, _)| queue)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.action.as_str(), self.count, self.token)
    }
}

impl FromStr for Ticket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "--plan: expected ACTION:MESSAGES:TOKEN, as `plan` prints it, \
             such as replay:40:alerter.0123456789abcdef0123456789abcdef"
                .to_owned()
        };
        let mut parts = text.splitn(3, ':');
        let (Some(action), Some(count), Some(token)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(expected());
        };
        let action = Action::ALL
            .into_iter()
            .find(|known| known.as_str() == action);
        Ok(Self {
            action: action.ok_or_else(expected)?,
            count: count.parse().map_err(|_| expected())?,
            token: token.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_says_what_it_does() {
        let text = "purge:40:a:b.dead.0123";
        let ticket: Ticket = text.parse().expect("a ticket");
        assert_eq!((ticket.action, ticket.count), (Action::Purge, 40));
        assert_eq!(ticket.queue(), "a:b.dead");
        assert_eq!(ticket.to_string(), text);
    }

    #[test]
    fn a_bare_token_is_no_ticket() {
        for text in [
            "",
            "alerter.0123",
            "replay:alerter.0123",
            "burn:1:alerter.0123",
        ] {
            assert!(text.parse::<Ticket>().is_err(), "{text}");
        }
    }
}
