//! The owner in a browser, at `/connections`.

use crate::support::world::{Response, World};

/// A signed-in owner.
pub struct Owner<'a> {
    w: &'a World,
    pub cookie: String,
}

impl<'a> Owner<'a> {
    pub async fn sign_in(w: &'a World) -> Self {
        let response = sign_in(w, &w.pin).await;
        assert_eq!(
            (response.status, response.header("location")),
            (303, "/connections")
        );
        assert!(response.header("set-cookie").starts_with("session_"));
        let cookie = response.cookie().unwrap();
        w.keep_secret(cookie.split_once('=').unwrap().1);
        Self { w, cookie }
    }

    pub async fn page(&self) -> Response {
        self.get("/connections").await
    }

    pub async fn get(&self, path: &str) -> Response {
        let request = self.w.get(path).header("cookie", &self.cookie);
        request.send().await
    }

    /// The response to a form itself.
    pub async fn send(&self, form: &[(&str, &str)]) -> Response {
        let request = self.w.post("/connections").form(form);
        request.header("cookie", &self.cookie).send().await
    }

    /// The page to which the response to a form leads.
    pub async fn act(&self, form: &[(&str, &str)]) -> Response {
        let request = self.w.post("/connections").form(form);
        self.w.send_as_browser(&self.cookie, request).await
    }

    pub async fn csrf(&self) -> String {
        self.page().await.field("csrf").unwrap()
    }

    /// Ends a connection.
    pub async fn end(&self, connection: &str) {
        let csrf = self.csrf().await;
        let form = [
            ("csrf", &*csrf),
            ("action", "end"),
            ("connection", connection),
        ];
        let ended = self.act(&form).await;
        assert!(ended.text.contains("was ended"), "{}", ended.text);
    }
}

/// The response to the form of the sign-in.
async fn sign_in(w: &World, pin: &str) -> Response {
    // The redirect itself, which sets the session's cookie.
    w.post("/connections")
        .form(&[("action", "sign-in"), ("pin", pin)])
        .send()
        .await
}

/// A form that creates a token for everything, without the PIN.
pub fn token_form<'f>(csrf: &'f str, connection: &'f str) -> [(&'f str, &'f str); 6] {
    [
        ("csrf", csrf),
        ("connection", connection),
        ("action", "create-token"),
        ("name", "x"),
        ("days", "7"),
        ("limit", "everything"),
    ]
}

/// A response to a form leads to a page of the connection, or to the list.
pub fn leads_to(response: &Response, path: &str) {
    assert_eq!((response.status, response.header("location")), (303, path));
}
