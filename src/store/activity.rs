//! The activity of a connection: one item for each `tools/call`.
//!
//! One small item is the cheapest write there is. A counter for each day would be a second write, and a list within one
//! item would make each write cost as much as the whole list. So calls are counted when somebody looks, by queries that
//! return no items.

use aws_sdk_dynamodb::{
    operation::query::builders::QueryFluentBuilder,
    types::{AttributeValue, Select},
};
use futures_util::{FutureExt as _, future::try_join3};

use super::{Store, item, parse, record::Activity, table::unavailable};
use crate::{credential::ConnectionId, error::Unavailable};

/// Most calls that are listed.
const LISTED_CALLS: i32 = 50;
/// Most pages of a query for one count. A page is 1 MB (Amazon DynamoDB Developer Guide, "Paginating table query
/// results"), which is at least 5,000 calls.
const COUNT_PAGES: usize = 4;
const DAY_SECONDS: u64 = 86_400;

/// A number of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActivityCount {
    /// The calls that were counted.
    pub calls: u64,
    /// Whether there are more than that.
    pub or_more: bool,
}

impl ActivityCount {
    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            or_more: self.or_more || other.or_more,
        }
    }
}

/// How often a connection called tools. Nothing that is older than `ACTIVITY_DAYS` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActivityCounts {
    /// In the last 24 hours.
    pub day: ActivityCount,
    /// In the last 7 days.
    pub week: ActivityCount,
    /// In the last 30 days.
    pub month: ActivityCount,
}

impl Store {
    /// Records a call, in one write.
    ///
    /// # Errors
    /// When the table cannot be written, as for every method here.
    pub async fn record_activity(
        &self,
        id: &ConnectionId,
        activity: &Activity,
        expires_at: u64,
    ) -> Result<(), Unavailable> {
        let sk = format!("{}#{}", time_key(activity.at), self.randomness.id());
        self.put_item(item(&partition(id), &sk, activity, expires_at)?)
            .await
    }

    /// The last 50 calls of a connection, the latest first.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn activity(
        &self,
        id: &ConnectionId,
        now: u64,
    ) -> Result<Vec<Activity>, Unavailable> {
        let output = self
            .activity_query(id, 0, now, now)
            .scan_index_forward(false)
            .limit(LISTED_CALLS)
            .send()
            .boxed()
            .await
            .map_err(|error| unavailable(&error))?;
        output
            .items
            .unwrap_or_default()
            .into_iter()
            .map(parse)
            .collect()
    }

    /// How often a connection called tools.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn activity_counts(
        &self,
        id: &ConnectionId,
        now: u64,
    ) -> Result<ActivityCounts, Unavailable> {
        let ago = |days: u64| now.saturating_sub(days * DAY_SECONDS);
        let (day, earlier_in_week, earlier_in_month) = try_join3(
            self.count_activity(id, ago(1), now, now),
            self.count_activity(id, ago(7), ago(1).saturating_sub(1), now),
            self.count_activity(id, ago(30), ago(7).saturating_sub(1), now),
        )
        .await?;
        let week = day.plus(earlier_in_week);
        Ok(ActivityCounts {
            day,
            week,
            month: week.plus(earlier_in_month),
        })
    }

    async fn count_activity(
        &self,
        id: &ConnectionId,
        from: u64,
        to: u64,
        now: u64,
    ) -> Result<ActivityCount, Unavailable> {
        let mut count = ActivityCount::default();
        let mut start = None;
        for _ in 0..COUNT_PAGES {
            let output = self
                .activity_query(id, from, to, now)
                .select(Select::Count)
                .set_exclusive_start_key(start)
                .send()
                .boxed()
                .await
                .map_err(|error| unavailable(&error))?;
            count.calls += u64::try_from(output.count).unwrap_or_default();
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(count);
            }
        }
        count.or_more = true;
        Ok(count)
    }

    /// The calls from `from` to `to`, both included, that have not expired. Eventually consistent: nothing is decided
    /// by them.
    fn activity_query(
        &self,
        id: &ConnectionId,
        from: u64,
        to: u64,
        now: u64,
    ) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
            .filter_expression("#expires_at > :now")
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_names("#sk", "sk")
            .expression_attribute_names("#expires_at", "expires_at")
            .expression_attribute_values(":pk", AttributeValue::S(partition(id)))
            .expression_attribute_values(":from", AttributeValue::S(time_key(from)))
            // `$` is the character after `#`.
            .expression_attribute_values(":to", AttributeValue::S(format!("{}$", time_key(to))))
            .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
    }
}

fn partition(id: &ConnectionId) -> String {
    format!("activity#{id}")
}

/// Unix seconds as text that sorts like the number, until the year 2286.
fn time_key(at: u64) -> String {
    format!("{at:010}")
}
