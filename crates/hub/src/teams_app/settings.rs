//! What the package says of the app, from the configuration.

use url::Url;
use uuid::Uuid;

use crate::config::Section;

/// All that stands in the manifest. The lengths are those of Microsoft's schema.
#[derive(Clone, Debug)]
pub struct TeamsAppConfig {
    pub version: String,
    /// The app's own id, the same in every tenant.
    pub id: Uuid,
    pub bot_id: Uuid,
    /// The app registration by which people sign in.
    pub client_id: Uuid,
    /// Host of the hub, and its port where that is not 443.
    pub domain: String,
    pub name: String,
    pub full_name: String,
    pub description: String,
    pub full_description: String,
    pub accent_color: String,
    pub developer_name: String,
    pub website_url: String,
    pub privacy_url: String,
    pub terms_of_use_url: String,
    /// `None`: the app does not name its registration.
    pub application_id_uri: Option<String>,
}

impl TeamsAppConfig {
    /// Reads `[teams_app]`; the ids stand in other sections.
    pub(crate) fn read(section: &mut Section<'_>, ids: Ids, public_url: &Url) -> Self {
        let name = Self::text(section, "name", 30);
        let description = Self::text(section, "description", 80);
        let full_name = Self::optional_text(section, "full_name", 100);
        let full_description = Self::optional_text(section, "full_description", 4000);
        Self {
            version: section.parsed("version", "three numbers such as \"1.0.0\"", |text| {
                let numbers: Vec<_> = text.split('.').map(str::parse::<u16>).collect();
                (numbers.len() == 3 && numbers.iter().all(Result::is_ok)).then(|| text.to_owned())
            }),
            id: ids.app,
            bot_id: ids.bot,
            client_id: ids.client,
            domain: match (public_url.host_str().unwrap_or_default(), public_url.port()) {
                (host, Some(port)) => format!("{host}:{port}"),
                (host, None) => host.to_owned(),
            },
            full_name: full_name.unwrap_or_else(|| name.clone()),
            name,
            full_description: full_description.unwrap_or_else(|| description.clone()),
            description,
            accent_color: section.parsed("accent_color", "a colour such as \"#4b53bc\"", |text| {
                let digits = text.strip_prefix('#')?;
                (digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_owned())
            }),
            developer_name: Self::text(section, "developer_name", 32),
            website_url: Self::address(section, "website_url", "the page where people find help"),
            privacy_url: Self::address(section, "privacy_url", "the page on privacy"),
            terms_of_use_url: Self::address(section, "terms_of_use_url", "the page with the terms of use"),
            application_id_uri: section.optional(
                "application_id_uri",
                "an application ID URI such as \"api://hub.example.com/botid-…\"",
                |text| text.starts_with("api://").then(|| text.to_owned()),
            ),
        }
    }

    fn text(section: &mut Section<'_>, key: &str, max: usize) -> String {
        section.required(key, &format!("1 to {max} characters that people see in Teams"));
        Self::optional_text(section, key, max).unwrap_or_default()
    }

    fn optional_text(section: &mut Section<'_>, key: &str, max: usize) -> Option<String> {
        let fits = |text: &str| text.chars().nth(max).is_none() && !text.is_empty();
        section
            .optional(key, &format!("at most {max} characters"), |text| fits(text).then(|| text.to_owned()))
    }

    fn address(section: &mut Section<'_>, key: &str, what: &str) -> String {
        section.required(key, what);
        section.url(key).map(String::from).unwrap_or_default()
    }
}

/// What is made at Microsoft, or drawn once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    pub(crate) app: Uuid,
    pub(crate) bot: Uuid,
    pub(crate) client: Uuid,
}
