//! Port-forward to pods over WebSocket (`v4.channel.k8s.io`, `v5.channel.k8s.io`).
//!
//! Per port two channels, data and error; the first frame of each names the port; after that every frame is a channel
//! byte and data. The bytes go to a [`PortForward`] handler.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::http::body::ApiBody;
use crate::http::request::Request;
use crate::http::status::{ApiError, ApiResult};
use crate::server::Inner;
use crate::storage::{GroupResource, object_key};

/// A connection to something in a pod.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// Connects port-forward requests with whatever plays the pods.
#[async_trait]
pub trait PortForward: Send + Sync + 'static {
    /// Opens a connection to a port of a pod that exists; the error's text is told to the client.
    async fn connect(&self, namespace: &str, pod: &str, port: u16) -> io::Result<Box<dyn ByteStream>>;
}

/// Whether a request is a port-forward.
pub(crate) fn is_asked(parts: &http::request::Parts) -> bool {
    parts.uri.path().ends_with("/portforward")
}

/// `v5` first: it can tell that one direction is closed.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// The channel byte by which v5 closes another channel.
const CLOSE: u8 = 255;

fn protocol(parts: &http::request::Parts) -> Option<&'static str> {
    let offered = parts
        .headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let offered: Vec<&str> = offered.flat_map(|v| v.split(',')).map(str::trim).collect();
    PROTOCOLS.into_iter().find(|p| offered.contains(p))
}

fn ports(request: &Request) -> ApiResult<Vec<u16>> {
    let texts = request
        .query
        .all("ports")
        .flat_map(|p| p.split(','))
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let ports = texts
        .iter()
        .map(|p| p.parse().ok().filter(|p| *p > 0))
        .collect::<Option<Vec<u16>>>();
    ports.filter(|p| !p.is_empty()).ok_or_else(|| {
        ApiError::bad_request("query parameter \"ports\" is required and must hold port numbers")
    })
}

/// Starts a port-forward: checks, then answers 101 and goes on in a task.
pub(crate) fn start(
    inner: &Arc<Inner>,
    parts: &mut http::request::Parts,
    request: &Request,
) -> ApiResult<Response<ApiBody>> {
    let pods = GroupResource::new("", "pods");
    if request.resource != "pods" || request.subresource != "portforward" {
        return Err(ApiError::no_such_path());
    }
    let handler = inner
        .port_forward
        .clone()
        .ok_or_else(|| ApiError::bad_request("this server has no port-forward"))?;
    if inner
        .store
        .get(&pods, &object_key(&request.namespace, &request.name))
        .is_none()
    {
        return Err(ApiError::not_found(&pods, &request.name));
    }
    let ports = ports(request)?;
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let (Some(upgrade), Some(key), Some(protocol)) =
        (upgrade, parts.headers.get(SEC_WEBSOCKET_KEY), protocol(parts))
    else {
        return Err(ApiError::bad_request(
            "unable to upgrade: a WebSocket with one of the protocols v4.channel.k8s.io, v5.channel.k8s.io is required",
        ));
    };
    let accept = derive_accept_key(key.as_bytes());
    let (namespace, pod) = (request.namespace.clone(), request.name.clone());
    let stop = inner.shutdown.clone();
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = forward(socket, handler, &namespace, &pod, &ports) => {}
        }
    });
    let mut response = Response::new(ApiBody::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    headers.insert(
        SEC_WEBSOCKET_ACCEPT,
        HeaderValue::from_str(&accept).map_err(ApiError::internal)?,
    );
    Ok(response)
}

fn frame(channel: u8, data: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(data);
    Message::Binary(bytes.freeze())
}

type Writers = Vec<Option<WriteHalf<Box<dyn ByteStream>>>>;

/// Connects every port; a port that cannot be connected gets its error on its error channel.
async fn connect_all(
    handler: &Arc<dyn PortForward>,
    namespace: &str,
    pod: &str,
    ports: &[u16],
    out: mpsc::Sender<Message>,
    readers: &mut JoinSet<()>,
) -> Writers {
    let mut writers = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let (data, error) = (2 * index as u8, 2 * index as u8 + 1);
        for channel in [data, error] {
            let _ = out.send(frame(channel, &port.to_le_bytes())).await;
        }
        match handler.connect(namespace, pod, *port).await {
            Ok(stream) => {
                let (read, write) = tokio::io::split(stream);
                writers.push(Some(write));
                readers.spawn(from_pod(read, data, out.clone()));
            }
            Err(problem) => {
                writers.push(None);
                let text = format!("error forwarding port {port} to pod {pod}: {problem}");
                let _ = out.send(frame(error, text.as_bytes())).await;
            }
        }
    }
    writers
}

/// Carries what the pod says to the client.
async fn from_pod(
    mut read: tokio::io::ReadHalf<Box<dyn ByteStream>>,
    channel: u8,
    out: mpsc::Sender<Message>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match read.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => {
                if out.send(frame(channel, &buffer[..count])).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn forward<S>(
    socket: WebSocketStream<S>,
    handler: Arc<dyn PortForward>,
    namespace: &str,
    pod: &str,
    ports: &[u16],
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sink, mut stream) = socket.split();
    let (out, mut outgoing) = mpsc::channel::<Message>(8);
    // Ends with the readers of the pods, which hold the sending side: when all pods have closed, so does the forward.
    let sending = async {
        while let Some(message) = outgoing.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    };
    // Ends when the client has gone. Both directions run beside each other, so that neither waits for the other's buffers.
    let receiving = async {
        let mut readers = JoinSet::new();
        let mut writers = connect_all(&handler, namespace, pod, ports, out, &mut readers).await;
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Binary(data) => to_pod(&mut writers, data).await,
                Message::Close(_) => break,
                _ => {}
            }
        }
        for writer in writers.iter_mut().flatten() {
            let _ = writer.shutdown().await;
        }
    };
    tokio::select! {
        biased;
        () = sending => {}
        () = receiving => {}
    }
    // Also answers the client's own close frame.
    let _ = sink.close().await;
}

/// Carries a frame of the client to its pod.
async fn to_pod(writers: &mut Writers, data: Bytes) {
    let Some((&channel, rest)) = data.split_first() else {
        return;
    };
    if channel == CLOSE {
        let closed = rest.first().map(|c| *c as usize / 2);
        if let Some(writer) = closed
            .and_then(|index| writers.get_mut(index))
            .and_then(Option::as_mut)
        {
            let _ = writer.shutdown().await;
        }
        return;
    }
    let writer = writers
        .get_mut(channel as usize / 2)
        .filter(|_| channel % 2 == 0)
        .and_then(Option::as_mut);
    if let Some(writer) = writer
        && writer.write_all(rest).await.is_ok()
    {
        let _ = writer.flush().await;
    }
}
