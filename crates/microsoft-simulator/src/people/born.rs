//! The people everybody knows, as they are at the start.

use uuid::{Uuid, uuid};

use super::{CONSUMERS, CONTOSO, FABRIKAM};

/// A person as they are born: tenant, id, given name, surname, user name, mail, whether the app is installed.
pub(super) type Born = (Uuid, Uuid, &'static str, &'static str, &'static str, Option<&'static str>, bool);

/// The people everybody knows. Both Adas have the same e-mail, Chiara has none, Dmitri lacks the app, and Gwen is
/// a personal account.
pub(super) const PEOPLE: [Born; 9] = [
    (
        CONTOSO,
        uuid!("a1b0c001-4d2e-4f60-8a71-92b3c4d5e601"),
        "Ada",
        "Bergström",
        "ada@contoso.example",
        Some("ada@contoso.example"),
        true,
    ),
    (
        CONTOSO,
        uuid!("a1b0c002-4d2e-4f60-8a71-92b3c4d5e602"),
        "Bruno",
        "Keller",
        "bruno@contoso.example",
        Some("Bruno.Keller@contoso.example"),
        true,
    ),
    (
        CONTOSO,
        uuid!("a1b0c003-4d2e-4f60-8a71-92b3c4d5e603"),
        "Chiara",
        "Neri",
        "chiara@contoso.example",
        None,
        true,
    ),
    (
        CONTOSO,
        uuid!("a1b0c004-4d2e-4f60-8a71-92b3c4d5e604"),
        "Dmitri",
        "Olsen",
        "dmitri@contoso.example",
        Some("dmitri@contoso.example"),
        false,
    ),
    (
        FABRIKAM,
        uuid!("b2c1d001-5e3f-4a71-9b82-a3c4d5e6f701"),
        "Ada",
        "Lindqvist",
        "ada@fabrikam.example",
        Some("ada@contoso.example"),
        true,
    ),
    (
        FABRIKAM,
        uuid!("b2c1d002-5e3f-4a71-9b82-a3c4d5e6f702"),
        "Emeka",
        "Obi",
        "emeka@fabrikam.example",
        Some("emeka@fabrikam.example"),
        true,
    ),
    (
        FABRIKAM,
        uuid!("b2c1d003-5e3f-4a71-9b82-a3c4d5e6f703"),
        "Farah",
        "Haddad",
        "farah@fabrikam.example",
        Some("farah@fabrikam.example"),
        true,
    ),
    (
        FABRIKAM,
        uuid!("b2c1d004-5e3f-4a71-9b82-a3c4d5e6f704"),
        "Hugo",
        "O'Neill <&>",
        "hugo@fabrikam.example",
        Some("hugo@fabrikam.example"),
        true,
    ),
    (
        CONSUMERS,
        uuid!("00000000-0000-0000-66f3-3332eca7ea81"),
        "Gwen",
        "Parr",
        "gwen@live.example",
        Some("gwen@live.example"),
        false,
    ),
];

/// People of one tenant who are guests in another: that tenant, their object id in it, and the one at home.
pub(super) const GUESTS: [(Uuid, Uuid, Uuid); 1] = [(
    FABRIKAM,
    uuid!("b2c1d005-5e3f-4a71-9b82-a3c4d5e6f705"),
    uuid!("a1b0c002-4d2e-4f60-8a71-92b3c4d5e602"),
)];
