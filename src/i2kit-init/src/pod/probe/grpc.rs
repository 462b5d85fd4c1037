//! The probe that asks gRPC's health service (`grpc.health.v1.Health/Check`).

use std::net::SocketAddr;

use containerd_client::tonic::{
    Code, Request, client,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use prost::Message;
use tonic_prost::ProstCodec;

/// No answer is longer: it holds one number.
const LONGEST_ANSWER: usize = 4096;
/// `HealthCheckResponse.ServingStatus`.
const SERVING: i32 = 1;
const METHOD: &str = "/grpc.health.v1.Health/Check";

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, Copy, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Asks for the health of a service, or of the whole server.
///
/// # Errors
/// It does not serve, or there is no answer.
pub async fn check(address: SocketAddr, service: &str) -> Result<(), String> {
    let failed = |error: &dyn std::error::Error| {
        format!("gRPC health of {address}: {}", crate::fault::Chain(error))
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|error| failed(&error))?;
    let channel = endpoint.connect().await.map_err(|error| failed(&error))?;
    let mut client = client::Grpc::new(channel).max_decoding_message_size(LONGEST_ANSWER);
    client.ready().await.map_err(|error| failed(&error))?;
    let service = service.to_owned();
    match ask(&mut client, HealthCheckRequest { service }).await {
        Ok(SERVING) => Ok(()),
        Ok(status) => Err(format!("service unhealthy (status {status})")),
        Err(refusal) if refusal.code() == Code::Unimplemented => Err(
            "the server does not implement the gRPC health protocol (grpc.health.v1.Health)".into(),
        ),
        Err(refusal) => Err(format!(
            "gRPC health of {address}: {:?}: {}",
            refusal.code(),
            refusal.message()
        )),
    }
}

async fn ask(
    client: &mut client::Grpc<Channel>,
    request: HealthCheckRequest,
) -> Result<i32, containerd_client::tonic::Status> {
    let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
    let path = PathAndQuery::from_static(METHOD);
    let response = client.unary(Request::new(request), path, codec).await?;
    Ok(response.into_inner().status)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use containerd_client::tonic::codegen::{
        Bytes,
        http::{HeaderMap, HeaderValue, Response},
    };
    use tokio::net::TcpListener;

    use super::*;

    /// Serves one call over HTTP/2: this message and this status. Answers the request's message.
    async fn serve(listener: TcpListener, message: Vec<u8>, status: &'static str) -> Vec<u8> {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.uri().path(), METHOD);
        let call = async move {
            let mut body = request.into_body();
            let mut asked = Vec::new();
            while let Some(data) = body.data().await {
                asked.extend_from_slice(&data.unwrap());
            }
            let response = Response::builder().header("content-type", "application/grpc");
            let response = response.body(()).unwrap();
            let mut answer = respond.send_response(response, false).unwrap();
            // Whoever has heard enough resets the stream.
            let _ = answer.send_data(Bytes::from(message), false);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            let _ = answer.send_trailers(trailers);
            asked
        };
        tokio::select! {
            asked = call => {
                // What was answered is still to be sent.
                let _ = tokio::time::timeout(Duration::from_secs(1), connection.accept()).await;
                asked
            }
            _ = connection.accept() => Vec::new(),
        }
    }

    /// What a probe makes of an answer, and what it asked.
    async fn ask(message: &[u8], status: &'static str) -> (Result<(), String>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, message.to_vec(), status));
        let result = check(address, "shop").await;
        (result, server.await.unwrap())
    }

    #[tokio::test]
    async fn only_serving_is_healthy() {
        let (result, asked) = ask(&[0, 0, 0, 0, 2, 8, 1], "0").await;
        assert_eq!(result, Ok(()));
        // A frame of six bytes: field 1, four bytes of text.
        assert_eq!(asked, b"\0\0\0\0\x06\x0a\x04shop");
        let (result, _) = ask(&[0, 0, 0, 0, 2, 8, 2], "0").await;
        assert_eq!(result, Err("service unhealthy (status 2)".into()));
        let (result, _) = ask(&[], "12").await;
        assert!(result.unwrap_err().contains("does not implement"));
        let (result, _) = ask(&[], "5").await;
        assert!(result.unwrap_err().contains("NotFound"));
    }

    #[tokio::test]
    async fn a_long_answer_is_refused_by_its_length() {
        let (result, _) = ask(&[0, 0x40, 0, 0, 0], "0").await;
        assert!(result.unwrap_err().contains("OutOfRange"));
    }
}
