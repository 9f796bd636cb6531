//! The server's side of an HTTP/1.1 connection, read chunk by chunk: what was sent in one piece and what was not is
//! visible only here.

use std::{io, str::FromStr as _};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// More than the function sends in one write in any test.
const READ_BYTES: usize = 1024 * 1024;

pub struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
    /// How often the socket was read.
    reads: usize,
}

pub struct RequestHead {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
}

/// A part of a body in chunked transfer coding (RFC 9112 §7.1).
pub enum Part {
    Chunk {
        data: Bytes,
        /// Whether all of it, from its size to its line end, was there after one read.
        in_one_read: bool,
    },
    /// The end, with its trailers.
    End(HeaderMap),
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        let buffer = BytesMut::with_capacity(READ_BYTES);
        Self {
            stream,
            buffer,
            reads: 0,
        }
    }

    /// The next request; `None` when the client closed the connection.
    pub async fn request(&mut self) -> io::Result<Option<RequestHead>> {
        if self.buffer.is_empty() && !self.read().await? {
            return Ok(None);
        }
        let line = self.line().await?;
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or(io::ErrorKind::InvalidData);
        Ok(Some(RequestHead {
            method: Method::from_str(word()?).map_err(io::Error::other)?,
            path: word()?.to_owned(),
            headers: self.fields().await?,
        }))
    }

    /// The next part of a chunked body.
    pub async fn part(&mut self) -> io::Result<Part> {
        if self.buffer.is_empty() {
            self.read_more().await?;
        }
        let reads = self.reads;
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
        if size == 0 {
            return Ok(Part::End(self.fields().await?));
        }
        let data = self.exactly(size).await?;
        let line_end = self.line().await?;
        assert_eq!(line_end, "", "more data than the chunk's size");
        Ok(Part::Chunk {
            data,
            in_one_read: self.reads == reads,
        })
    }

    pub async fn exactly(&mut self, length: usize) -> io::Result<Bytes> {
        while self.buffer.len() < length {
            self.read_more().await?;
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    pub async fn respond(
        &mut self,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut response = format!(
            "HTTP/1.1 {status} Any\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            response.push_str(&format!("{name}: {value}\r\n"));
        }
        response.push_str("\r\n");
        let response = [response.as_bytes(), body].concat();
        self.stream.write_all(&response).await
    }

    /// Resolves when the client closes the connection.
    pub async fn closed(&mut self) -> io::Result<()> {
        while self.read().await? {}
        Ok(())
    }

    async fn fields(&mut self) -> io::Result<HeaderMap> {
        let mut fields = HeaderMap::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok(fields);
            };
            let name = HeaderName::from_str(name).map_err(io::Error::other)?;
            let value = HeaderValue::from_str(value.trim()).map_err(io::Error::other)?;
            fields.append(name, value);
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|bytes| bytes == b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return String::from_utf8(line[..end].to_vec()).map_err(io::Error::other);
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> io::Result<()> {
        if self.read().await? {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// One read; `false` at the end.
    async fn read(&mut self) -> io::Result<bool> {
        self.reads += 1;
        self.buffer.reserve(READ_BYTES);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }
}
