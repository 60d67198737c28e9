//! What a client may ask for over time: records, as the plans of its operations estimate them.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_graphql::{Response, Value, value};
use uuid::Uuid;

use super::error::{Code, Refusal};
use crate::auth::limit::{Limits, Rate, Standing};

/// The clients' budgets, all of the same size.
#[derive(Clone)]
pub struct Budgets {
    limits: Arc<Limits>,
    rate: Option<Rate>,
}

impl Budgets {
    /// `records`: of one minute. 0: no bound.
    pub fn new(records: u32) -> Self {
        let rate = NonZeroU32::new(records).map(|burst| {
            let per_second = NonZeroU32::new(records.div_ceil(60)).unwrap_or(NonZeroU32::MIN);
            Rate { per_second, burst }
        });
        Self { limits: Arc::default(), rate }
    }

    /// Takes what an operation asks for, one record at least. `None`: there is no bound.
    pub fn take(&self, client: Uuid, records: u64) -> Option<Standing> {
        let records = NonZeroU32::new(u32::try_from(records).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
        Some(self.limits.take(client, self.rate?, records))
    }
}

/// A budget as `extensions.cost` tells it.
pub fn told(standing: Standing) -> Value {
    value!({ "limit": (standing.limit), "remaining": (standing.remaining), "reset": (standing.reset) })
}

/// 429. `wait`: seconds after which there is enough.
pub fn exhausted(wait: u64) -> Response {
    let message = format!("The client has asked for as many records as it may; ask again in {wait} seconds.");
    let mut response = Refusal::new(Code::RateLimited, message).into_response();
    for error in &mut response.errors {
        error.extensions.get_or_insert_default().set("retryAfter", wait);
    }
    response
}
