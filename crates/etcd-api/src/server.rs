//! The server half: answers etcd's calls on a byte stream from an implementation of [`Member`].

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{Request, Response, Status, body::Body, server::Grpc};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use crate::messages::{
    AlarmRequest, AlarmResponse, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MoveLeaderRequest, MoveLeaderResponse, StatusRequest, StatusResponse,
};

/// What one etcd member answers. A call that is not implemented answers so, as an error.
#[async_trait]
pub trait Member: Send + Sync + 'static {
    /// `Maintenance.Status`
    async fn status(&self, request: StatusRequest) -> Result<StatusResponse, Status>;

    /// `Cluster.MemberList`
    async fn member_list(&self, request: MemberListRequest) -> Result<MemberListResponse, Status>;

    /// `Maintenance.Alarm`
    async fn alarm(&self, request: AlarmRequest) -> Result<AlarmResponse, Status>;

    /// `Cluster.MemberRemove`
    async fn member_remove(&self, request: MemberRemoveRequest) -> Result<MemberRemoveResponse, Status>;

    /// `Maintenance.MoveLeader`
    async fn move_leader(&self, request: MoveLeaderRequest) -> Result<MoveLeaderResponse, Status>;

    /// `Cluster.MemberAdd`
    async fn member_add(&self, _: MemberAddRequest) -> Result<MemberAddResponse, Status> {
        Err(not_implemented("MemberAdd"))
    }

    /// `Cluster.MemberPromote`
    async fn member_promote(&self, _: MemberPromoteRequest) -> Result<MemberPromoteResponse, Status> {
        Err(not_implemented("MemberPromote"))
    }
}

fn not_implemented(call: &str) -> Status {
    Status::unimplemented(format!("not implemented: {call}"))
}

/// Serves `member` on one connection (HTTP/2 without TLS) until the other side ends it.
pub async fn serve<I>(io: I, member: Arc<dyn Member>) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(Router(member)))
        .await
        .map_err(Into::into)
}

#[derive(Clone)]
struct Router(Arc<dyn Member>);

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// Runs one method of [`Member`] as a unary gRPC call.
macro_rules! unary {
    ($member:expr, $request:expr, $method:ident, $input:ty, $output:ty) => {{
        let (member, request) = ($member, $request);
        Box::pin(async move {
            let call = service_fn(move |request: Request<$input>| {
                let member = member.clone();
                async move { member.$method(request.into_inner()).await.map(Response::new) }
            });
            Ok(Grpc::new(ProstCodec::<$output, $input>::default())
                .unary(call, request)
                .await)
        })
    }};
}

impl<B> Service<http::Request<B>> for Router
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Answer {
        let member = self.0.clone();
        match request.uri().path() {
            "/etcdserverpb.Cluster/MemberList" => {
                unary!(
                    member,
                    request,
                    member_list,
                    MemberListRequest,
                    MemberListResponse
                )
            }
            "/etcdserverpb.Cluster/MemberAdd" => {
                unary!(member, request, member_add, MemberAddRequest, MemberAddResponse)
            }
            "/etcdserverpb.Cluster/MemberRemove" => {
                unary!(
                    member,
                    request,
                    member_remove,
                    MemberRemoveRequest,
                    MemberRemoveResponse
                )
            }
            "/etcdserverpb.Cluster/MemberPromote" => {
                unary!(
                    member,
                    request,
                    member_promote,
                    MemberPromoteRequest,
                    MemberPromoteResponse
                )
            }
            "/etcdserverpb.Maintenance/Status" => {
                unary!(member, request, status, StatusRequest, StatusResponse)
            }
            "/etcdserverpb.Maintenance/Alarm" => unary!(member, request, alarm, AlarmRequest, AlarmResponse),
            "/etcdserverpb.Maintenance/MoveLeader" => {
                unary!(
                    member,
                    request,
                    move_leader,
                    MoveLeaderRequest,
                    MoveLeaderResponse
                )
            }
            path => {
                let status = not_implemented(path.rsplit('/').next().unwrap_or(path));
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}
