//! A person at a browser, as far as the story needs one: opens the link, signs in at Microsoft or by a password, and follows
//! where that leads. Over real HTTP, like everything in the story.

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, Response, header};
use url::Url;

/// What became of the browser in the end.
pub(super) struct End {
    pub status: u16,
    pub page: String,
}

/// Signs `person` (a user principal name) in by the link.
pub(super) async fn sign_in(http: &Client, link: &str, person: &str) -> Result<End> {
    let page = Opened::at(http, link).await?;
    let authorize = location(&page.submit("microsoft", &[]).await?)?;
    let agreed = http.post(authorize).form(&[("person", person), ("consent", "accept")]).send().await?;
    let callback = location(&agreed)?;
    let answer = http.get(callback).header(header::COOKIE, &page.cookie).send().await?;
    if answer.status().is_redirection() {
        let product = location(&answer)?;
        return end(http.get(product).send().await?).await;
    }
    end(answer).await
}

/// Types a name and a password of the product at the link. Answers the code that is to be typed to the bot.
pub(super) async fn type_password(http: &Client, link: &str, name: &str, password: &str) -> Result<String> {
    let page = Opened::at(http, link).await?;
    let next = location(&page.submit("password", &[("name", name), ("password", password)]).await?)?;
    let next = Url::parse(link)?.join(&next)?;
    let shown = http.get(next).header(header::COOKIE, &page.cookie).send().await?.error_for_status()?;
    let shown = shown.text().await?;
    let code = between(&shown, "<p class=\"code\">", "</p>").context("the page shows no code")?;
    Ok(code.to_owned())
}

/// A sign-in page with its forms.
struct Opened<'a> {
    http: &'a Client,
    link: &'a str,
    cookie: String,
    csrf: String,
}

impl<'a> Opened<'a> {
    async fn at(http: &'a Client, link: &'a str) -> Result<Self> {
        let opened = http.get(link).send().await?.error_for_status()?;
        let cookie = cookie(&opened).context("the sign-in page sets no cookie")?;
        let page = opened.text().await?;
        let csrf =
            between(&page, "name=\"csrf\" value=\"", "\"").context("the sign-in page has no button")?;
        Ok(Self { http, link, cookie, csrf: csrf.to_owned() })
    }

    /// Sends the form of one way in.
    async fn submit(&self, way: &str, fields: &[(&str, &str)]) -> Result<Response> {
        let form = [fields, &[("csrf", &self.csrf)]].concat();
        let post = self.http.post(format!("{}/{way}", self.link)).header(header::COOKIE, &self.cookie);
        Ok(post.form(&form).send().await?)
    }
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
