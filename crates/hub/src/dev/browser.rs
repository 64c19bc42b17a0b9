//! A person at a browser, as far as the story needs one: opens the link, presses the button, signs in at Microsoft, and
//! follows where that leads. Over real HTTP, like everything in the story.

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, Response, header};

/// What became of the browser in the end.
pub(super) struct End {
    pub status: u16,
    pub page: String,
}

/// Signs `person` (a user principal name) in by the link.
pub(super) async fn sign_in(http: &Client, link: &str, person: &str) -> Result<End> {
    let opened = http.get(link).send().await?.error_for_status()?;
    let cookie = cookie(&opened).context("the sign-in page sets no cookie")?;
    let page = opened.text().await?;
    let csrf = between(&page, "name=\"csrf\" value=\"", "\"").context("the sign-in page has no button")?;
    let pressed =
        http.post(format!("{link}/microsoft")).header(header::COOKIE, &cookie).form(&[("csrf", csrf)]);
    let authorize = location(&pressed.send().await?)?;
    let agreed = http.post(authorize).form(&[("person", person), ("consent", "accept")]).send().await?;
    let callback = location(&agreed)?;
    let answer = http.get(callback).header(header::COOKIE, &cookie).send().await?;
    if answer.status().is_redirection() {
        let product = location(&answer)?;
        return end(http.get(product).send().await?).await;
    }
    end(answer).await
}

async fn end(answer: Response) -> Result<End> {
    Ok(End { status: answer.status().as_u16(), page: answer.text().await? })
}

fn cookie(response: &Response) -> Option<String> {
    let set = response.headers().get(header::SET_COOKIE)?.to_str().ok()?;
    Some(set.split(';').next()?.to_owned())
}

fn location(response: &Response) -> Result<String> {
    ensure!(response.status().is_redirection(), "a redirect was to come, not {}", response.status());
    let location = response.headers().get(header::LOCATION).context("a redirect without a location")?;
    Ok(location.to_str()?.to_owned())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}
