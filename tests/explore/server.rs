//! A table in a server that others wrote, in place of the model's: `TABLE_URL` names it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};

use super::model::dynamodb::{Response, Table};

/// Servers take the region, and some the account, from the signature; none of them checks it.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
    SignedHeaders=host, Signature=0";

/// Where the calls are carried out.
pub enum Storage {
    /// In the model's table.
    Model(Table),
    /// In a table of its own at a server.
    Server(ServerTable),
}

impl Storage {
    /// The contents, as the model has them.
    pub fn contents(&self) -> Table {
        match self {
            Self::Model(table) => table.clone(),
            Self::Server(table) => table.contents(),
        }
    }
}

/// The server that `TABLE_URL` names.
#[derive(Clone)]
pub struct Server {
    address: String,
}

impl Server {
    /// # Panics
    /// If the variable does not have the form `http://127.0.0.1:PORT`.
    #[expect(
        clippy::disallowed_methods,
        reason = "who has another server names it in the environment"
    )]
    pub fn of_environment() -> Self {
        let url = std::env::var("TABLE_URL").expect("TABLE_URL names a server for DynamoDB");
        let address = url.trim_end_matches('/').strip_prefix("http://");
        Self {
            address: address.expect("TABLE_URL begins with http://").to_owned(),
        }
    }

    /// A new table with these contents, of at most 25 items. It ends with the server.
    pub fn table(&self, name: &str, contents: &Table) -> ServerTable {
        let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
        let text = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
        let table = ServerTable {
            server: self.clone(),
            name: name.to_owned(),
        };
        let create = json!({
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
            "AttributeDefinitions": [text("pk"), text("sk")],
        });
        succeeded(&table.execute("CreateTable", &create));
        let puts: Vec<_> = contents
            .items()
            .map(|(_, item)| json!({ "PutRequest": { "Item": item } }))
            .collect();
        if !puts.is_empty() {
            let request = json!({ "RequestItems": { name: puts } });
            succeeded(&self.send("BatchWriteItem", &request));
        }
        table
    }

    fn send(&self, operation: &str, request: &Value) -> Response {
        let (address, body) = (&self.address, request.to_string());
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: {AUTHORIZATION}\r\n\
             content-type: application/x-amz-json-1.0\r\nx-amz-target: DynamoDB_20120810.{operation}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut received = String::new();
        stream.read_to_string(&mut received).unwrap();
        let (head, body) = received.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("{operation}: {received}"));
        Response::new(status, &body)
    }
}

/// A table at a server.
pub struct ServerTable {
    server: Server,
    name: String,
}

impl ServerTable {
    /// Carries out one operation, whichever table the request names.
    pub fn execute(&self, operation: &str, request: &Value) -> Response {
        let mut request = request.clone();
        request["TableName"] = json!(self.name);
        self.server.send(operation, &request)
    }

    fn contents(&self) -> Table {
        let found = succeeded(&self.execute("Scan", &json!({ "ConsistentRead": true })));
        let mut table = Table::default();
        for item in found["Items"].as_array().unwrap() {
            succeeded(&table.execute("PutItem", &json!({ "Item": item })));
        }
        table
    }
}

fn succeeded(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.body);
    serde_json::from_str(&response.body).unwrap()
}
