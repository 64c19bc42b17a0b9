//! A person at a browser: opens the link, presses the button, signs in at Microsoft, and follows where that leads.

use std::time::Duration;

use microsoft::{OutboundConfig, http_client};
use reqwest::{Client, RequestBuilder, Response, header};
use url::Url;

/// A client that follows no redirects.
pub(crate) fn http() -> Client {
    http_client(&OutboundConfig {
        ca_file: None,
        https_only: false,
        connect_timeout: Duration::from_secs(5),
        request_timeout: super::PATIENCE,
        user_agent: "test".into(),
    })
    .unwrap()
}

/// Keeps one cookie, as all that the hub sets.
#[derive(Clone)]
pub(crate) struct Browser {
    http: Client,
    pub(crate) cookie: Option<String>,
    /// What proxies on the way say of where it is.
    pub(crate) forwarded_for: Option<&'static str>,
    /// `Accept-Language`.
    languages: Option<&'static str>,
}

/// What a browser was answered.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) text: String,
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self { http: http(), cookie: None, forwarded_for: None, languages: None }
    }

    /// One that asks for these languages.
    pub(crate) fn reading(languages: &'static str) -> Self {
        Self { languages: Some(languages), ..Self::new() }
    }

    /// The same browser on new sockets.
    pub(crate) fn again(&self) -> Self {
        Self { http: http(), ..self.clone() }
    }

    /// Signs in by the link, and answers what was shown or where it led in the end.
    pub(crate) async fn sign_in(&mut self, link: &str, upn: &str) -> Page {
        let callback = self.callback(link, upn).await;
        self.get(&callback).await
    }

    /// The same up to where Microsoft sends the browser back to.
    pub(crate) async fn callback(&mut self, link: &str, upn: &str) -> String {
        let authorize = self.press(link).await;
        self.at_microsoft(&authorize, &[("person", upn), ("consent", "accept")]).await
    }

    /// Opens the link and presses the button; answers where Microsoft takes it from there.
    pub(crate) async fn press(&mut self, link: &str) -> String {
        let page = self.get(link).await;
        let csrf = page.csrf().unwrap_or_else(|| panic!("no button: {} {}", page.status, page.text));
        let pressed = self.press_with(link, &csrf, &[]).await;
        assert_eq!(pressed.status, 303, "{}", pressed.text);
        pressed.location.unwrap()
    }

    /// Opens the panel and sends a form with these fields; the way is `microsoft` or `password`.
    pub(crate) async fn submit(&mut self, link: &str, way: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.get(link).await;
        let csrf = page.csrf().unwrap_or_else(|| panic!("no form: {} {}", page.status, page.text));
        let form: Vec<_> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        self.send(self.http.post(format!("{link}/{way}")).form(&form)).await
    }

    /// Types a user name and a password on the panel, and answers what is shown then.
    pub(crate) async fn type_password(&mut self, link: &str, name: &str, password: &str) -> Page {
        let page = self.submit(link, "password", &[("name", name), ("password", password)]).await;
        if page.status == 303 { self.get(link).await } else { page }
    }

    pub(crate) async fn post(&mut self, url: &str, fields: &[(&str, &str)]) -> Page {
        self.send(self.http.post(url).form(fields)).await
    }

    pub(crate) async fn press_with(&mut self, link: &str, csrf: &str, headers: &[(&str, &str)]) -> Page {
        let mut request = self.http.post(format!("{link}/microsoft")).form(&[("csrf", csrf)]);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    /// Answers Microsoft's page, and says where that leads.
    pub(crate) async fn at_microsoft(&self, authorize: &str, form: &[(&str, &str)]) -> String {
        let answer = self.http.post(authorize).form(form).send().await.unwrap();
        assert_eq!(answer.status(), 302, "{}", answer.text().await.unwrap());
        location(&answer).unwrap()
    }

    pub(crate) async fn get(&mut self, url: &str) -> Page {
        self.send(self.http.get(url)).await
    }

    pub(crate) async fn head(&mut self, url: &str) -> Page {
        self.send(self.http.head(url)).await
    }

    async fn send(&mut self, request: RequestBuilder) -> Page {
        self.try_send(request).await.unwrap()
    }

    async fn try_send(&mut self, mut request: RequestBuilder) -> reqwest::Result<Page> {
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if let Some(addresses) = self.forwarded_for {
            request = request.header("x-forwarded-for", addresses);
        }
        if let Some(languages) = self.languages {
            request = request.header(header::ACCEPT_LANGUAGE, languages);
        }
        let answer = request.send().await?;
        if let Some(set) = answer.headers().get(header::SET_COOKIE) {
            let set = set.to_str().unwrap();
            for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
                assert!(set.contains(attribute), "{set}");
            }
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        Ok(Page { status: answer.status().as_u16(), location: location(&answer), text: answer.text().await? })
    }
}

impl Page {
    pub(crate) fn title(&self) -> String {
        between(&self.text, "<h1>", "</h1>").unwrap_or_default().to_owned()
    }

    /// What the button sends along; absent where there is no button.
    pub(crate) fn csrf(&self) -> Option<String> {
        between(&self.text, "name=\"csrf\" value=\"", "\"").map(str::to_owned)
    }

    /// The address, without the host, that is to be passed on to an administrator.
    pub(crate) fn consent_link(&self) -> &str {
        let found = self.text.split('"').find(|text| text.starts_with("/consent/"));
        found.unwrap_or_else(|| panic!("no link for an administrator: {}", self.text))
    }

    /// The code that is to be typed to the bot, where one is shown.
    pub(crate) fn typed_code(&self) -> Option<String> {
        between(&self.text, "<p class=\"code\">", "</p>").map(str::to_owned)
    }

    /// What the browser carries to the product's return page.
    pub(crate) fn code(&self) -> String {
        let to = self.location.as_deref().unwrap_or_else(|| panic!("{} {}", self.status, self.text));
        assert!(to.starts_with(super::RETURN_URL), "{to}");
        query(to, "code").unwrap()
    }
}

/// A field of an address's query.
pub(crate) fn query(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The same address with another value for a field of its query.
pub(crate) fn with_query(url: &str, name: &str, value: &str) -> String {
    let mut url = Url::parse(url).unwrap();
    let rest: Vec<_> = url.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    url.query_pairs_mut().clear().extend_pairs(rest).append_pair(name, value);
    url.into()
}

fn location(response: &Response) -> Option<String> {
    Some(response.headers().get(header::LOCATION)?.to_str().unwrap().to_owned())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}
