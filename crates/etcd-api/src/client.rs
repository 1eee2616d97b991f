//! The client half: calls the member at the other end of a byte stream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::uri::PathAndQuery;
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
};
use tonic::{Request, Status, body::Body, client::Grpc};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::messages::{
    AlarmAction, AlarmMember, AlarmRequest, AlarmResponse, Member, MemberAddRequest, MemberAddResponse,
    MemberListRequest, MemberListResponse, MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest,
    MemberRemoveResponse, MoveLeaderRequest, MoveLeaderResponse, StatusRequest, StatusResponse,
};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP/2 connection could not be established.
    #[error("cannot speak HTTP/2 on the connection: {0}")]
    Connect(#[from] hyper::Error),
    /// The name that the member is called by is no authority of a URI.
    #[error("{0:?} is not a host name")]
    Authority(String),
    /// etcd, or the connection to it, answered with an error.
    #[error("{call}: {} ({:?})", .status.message(), .status.code())]
    Call {
        /// The method, e.g. `MemberList`.
        call: &'static str,
        /// The answer.
        status: Status,
    },
}

/// A connection to one member. Dropping it ends the connection.
#[derive(Debug)]
pub struct Client {
    grpc: Grpc<Sender>,
    connection: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    /// Starts to speak with the member at the other end of `io`, an established stream (TLS included where needed).
    /// `authority` is the name that the member is called by, e.g. `etcd-node-1`.
    pub async fn connect<I>(io: I, authority: &str) -> Result<Self, Error>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let origin = http::Uri::builder()
            .scheme("https")
            .authority(authority)
            .path_and_query("/")
            .build()
            .map_err(|_| Error::Authority(authority.to_owned()))?;
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
        let connection = tokio::spawn(async move {
            // The error, if any, also reaches the call that is under way.
            let _ = connection.await;
        });
        Ok(Self {
            grpc: Grpc::with_origin(Sender(sender), origin),
            connection,
        })
    }

    async fn call<I, O>(&mut self, call: &'static str, path: &'static str, request: I) -> Result<O, Error>
    where
        I: Message + Default + 'static,
        O: Message + Default + 'static,
    {
        let failed = |status| Error::Call { call, status };
        self.grpc
            .ready()
            .await
            .map_err(|e| failed(Status::unavailable(e.to_string())))?;
        let codec = ProstCodec::<I, O>::default();
        let path = PathAndQuery::from_static(path);
        self.grpc
            .unary(Request::new(request), path, codec)
            .await
            .map(tonic::Response::into_inner)
            .map_err(failed)
    }

    /// The status of this member.
    pub async fn status(&mut self) -> Result<StatusResponse, Error> {
        self.call("Status", "/etcdserverpb.Maintenance/Status", StatusRequest {})
            .await
    }

    /// The members as this member knows them (with `linearizable`: as a quorum knows them).
    pub async fn member_list(&mut self, linearizable: bool) -> Result<MemberListResponse, Error> {
        self.call(
            "MemberList",
            "/etcdserverpb.Cluster/MemberList",
            MemberListRequest { linearizable },
        )
        .await
    }

    /// The alarms of all members.
    pub async fn alarms(&mut self) -> Result<Vec<AlarmMember>, Error> {
        let request = AlarmRequest {
            action: AlarmAction::Get.into(),
            ..AlarmRequest::default()
        };
        let response: AlarmResponse = self
            .call("Alarm", "/etcdserverpb.Maintenance/Alarm", request)
            .await?;
        Ok(response.alarms)
    }

    /// Adds a member that the others will reach at `peer_urls`; without a vote if it is a `learner`.
    pub async fn member_add(
        &mut self,
        peer_urls: Vec<String>,
        learner: bool,
    ) -> Result<MemberAddResponse, Error> {
        let request = MemberAddRequest {
            peer_urls,
            is_learner: learner,
        };
        self.call("MemberAdd", "/etcdserverpb.Cluster/MemberAdd", request)
            .await
    }

    /// Removes a member; answers those that are left.
    pub async fn member_remove(&mut self, id: u64) -> Result<Vec<Member>, Error> {
        let response: MemberRemoveResponse = self
            .call(
                "MemberRemove",
                "/etcdserverpb.Cluster/MemberRemove",
                MemberRemoveRequest { id },
            )
            .await?;
        Ok(response.members)
    }

    /// Gives a learner its vote.
    pub async fn member_promote(&mut self, id: u64) -> Result<Vec<Member>, Error> {
        let response: MemberPromoteResponse = self
            .call(
                "MemberPromote",
                "/etcdserverpb.Cluster/MemberPromote",
                MemberPromoteRequest { id },
            )
            .await?;
        Ok(response.members)
    }

    /// Asks this member, which must lead, to hand over to `target_id`.
    pub async fn move_leader(&mut self, target_id: u64) -> Result<(), Error> {
        let request = MoveLeaderRequest { target_id };
        let _: MoveLeaderResponse = self
            .call("MoveLeader", "/etcdserverpb.Maintenance/MoveLeader", request)
            .await?;
        Ok(())
    }
}

/// hyper's sender as a tower service.
#[derive(Debug)]
struct Sender(SendRequest<Body>);

impl Service<http::Request<Body>> for Sender {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
