//! The probe that opens a TCP connection.

use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Connects and hangs up.
///
/// # Errors
/// Why there was no connection.
pub async fn connect(address: SocketAddr) -> Result<(), String> {
    match TcpStream::connect(address).await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("connect to {address}: {error}")),
    }
}
