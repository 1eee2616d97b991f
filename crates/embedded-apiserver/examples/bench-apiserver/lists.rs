//! A list of many objects, as a whole or in pages.

use anyhow::ensure;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::Connection;
use crate::payload;
use crate::target::Target;

#[derive(serde::Deserialize)]
struct List {
    metadata: Value,
    items: Vec<IgnoredAny>,
}

/// The time in milliseconds until the last byte has come.
pub async fn list(target: &Target, limit: usize, count: usize) -> anyhow::Result<f64> {
    let mut connection = Connection::open(target).await?;
    let (mut token, mut pages) = (String::new(), Vec::new());
    let start = Instant::now();
    loop {
        let path = format!("{}?limit={limit}&continue={token}", payload::machines("fill"));
        let bytes = connection.get(&path).await?;
        // Looking for the token costs the client next to nothing.
        let next = next_token(&bytes);
        pages.push(bytes);
        match next {
            Some(next) => token = next,
            None => break,
        }
    }
    let time = start.elapsed().as_secs_f64() * 1000.0;
    let mut found = 0;
    for page in &pages {
        let list: List = serde_json::from_slice(page)?;
        ensure!(list.metadata["resourceVersion"].is_string());
        found += list.items.len();
    }
    ensure!(
        found == count,
        "{}: {found} of {count} objects were listed",
        target.name
    );
    Ok(time)
}

/// The token of the next page, which stands before or behind the items.
fn next_token(page: &[u8]) -> Option<String> {
    let ends = [
        &page[..page.len().min(1000)],
        &page[page.len().saturating_sub(1000)..],
    ];
    ends.iter().find_map(|end| {
        let text = String::from_utf8_lossy(end);
        let (_, after) = text.split_once("\"continue\":\"")?;
        let (token, _) = after.split_once('"')?;
        (!token.is_empty()).then(|| token.to_owned())
    })
}
