//! nginx in the program's place: the floor for something that forwards HTTP and does nothing else.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::client::Target;

/// A running nginx, and how to call the upstream through it.
pub struct Nginx {
    child: Child,
    directory: PathBuf,
    pub target: Target,
}

impl Nginx {
    /// `None` if nginx is not installed.
    pub async fn start(upstream: SocketAddr, target: &Target) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?;
        let directory = std::env::temp_dir().join(format!("bench-nginx-{}", std::process::id()));
        fs::create_dir_all(&directory).ok()?;
        let at = directory.display();
        let config = format!(
            "daemon off; worker_processes auto; pid {at}/pid; error_log {at}/error.log;\n\
             events {{}}\n\
             http {{\n\
             access_log off; keepalive_requests 100000000; proxy_temp_path {at}/proxy; client_body_temp_path {at}/body;\n\
             fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
             upstream mcp {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}\n\
             server {{ listen {address}; location / {{\n\
             proxy_pass http://mcp; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             proxy_set_header Authorization \"Bearer upstream-token\"; proxy_buffering off;\n\
             }} }} }}\n"
        );
        fs::write(directory.join("nginx.conf"), config).ok()?;
        let child = Command::new("nginx")
            .arg("-p")
            .arg(&directory)
            .arg("-c")
            .arg(directory.join("nginx.conf"))
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let target = Target {
            address,
            ..target.clone()
        };
        let nginx = Self {
            child,
            directory,
            target,
        };
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with a signal that lets it tell them; after SIGKILL they would go on.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
