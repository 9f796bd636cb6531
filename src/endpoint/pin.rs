//! Telling the person, the log and the alarms what became of a PIN.

use http::StatusCode;

use crate::{app::Caller, page::Notice, pin::ALARM_TRIES, store::Judged};

/// The status, notice and seconds to wait for a PIN that does not open; `None` for the right one.
pub fn refusal(
    caller: &Caller,
    client_id: Option<&str>,
    judged: Judged,
) -> Option<(StatusCode, Notice, Option<u64>)> {
    let address = caller.address_text();
    match judged {
        Judged::Right => None,
        Judged::Wrong {
            left,
            wait,
            overall,
        } => {
            tracing::warn!(
                event = "wrong_pin",
                client_id,
                address,
                overall,
                "a wrong PIN was given"
            );
            if overall == ALARM_TRIES {
                tracing::error!(event = "wrong_pin_alarm", overall, "many wrong PINs today");
            }
            Some(if let Some(seconds) = wait {
                (
                    StatusCode::TOO_MANY_REQUESTS,
                    Notice::Wait { seconds },
                    Some(seconds),
                )
            } else {
                let tries_left = u32::try_from(left).unwrap_or(u32::MAX);
                (StatusCode::FORBIDDEN, Notice::WrongPin { tries_left }, None)
            })
        }
        Judged::Blocked { wait } => {
            tracing::warn!(
                event = "pin_blocked",
                client_id,
                address,
                wait,
                "a PIN was not compared"
            );
            Some((
                StatusCode::TOO_MANY_REQUESTS,
                Notice::Wait { seconds: wait },
                Some(wait),
            ))
        }
        Judged::Closed => {
            tracing::error!(
                event = "pin_closed",
                client_id,
                address,
                "the day's budget of wrong PINs is spent"
            );
            Some((
                StatusCode::TOO_MANY_REQUESTS,
                Notice::ClosedForToday,
                Some(3600),
            ))
        }
    }
}
