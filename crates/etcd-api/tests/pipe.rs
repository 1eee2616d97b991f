//! Client and server against each other over an in-memory pipe.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use etcd_api::{Client, Code, Error, Member, Status, messages::*, serve};

struct OneMember {
    removed: Mutex<Vec<u64>>,
}

#[async_trait]
impl Member for OneMember {
    async fn status(&self, _: StatusRequest) -> Result<StatusResponse, Status> {
        Ok(StatusResponse {
            leader: 1,
            version: "3.6.1".into(),
            ..StatusResponse::default()
        })
    }

    async fn member_list(&self, request: MemberListRequest) -> Result<MemberListResponse, Status> {
        assert!(!request.linearizable);
        let header = Some(ResponseHeader {
            cluster_id: 9,
            member_id: 1,
            ..ResponseHeader::default()
        });
        let member = |id, name: &str| etcd_api::messages::Member {
            id,
            name: name.into(),
            ..Default::default()
        };
        Ok(MemberListResponse {
            header,
            members: vec![member(1, "a"), member(2, "")],
        })
    }

    async fn alarm(&self, request: AlarmRequest) -> Result<AlarmResponse, Status> {
        assert_eq!(request.action(), AlarmAction::Get);
        let alarms = vec![AlarmMember {
            member_id: 1,
            alarm: AlarmType::Nospace.into(),
        }];
        Ok(AlarmResponse { header: None, alarms })
    }

    async fn member_remove(&self, request: MemberRemoveRequest) -> Result<MemberRemoveResponse, Status> {
        if request.id == 7 {
            return Err(Status::not_found("no etcd member with id 7 found"));
        }
        self.removed.lock().unwrap().push(request.id);
        Ok(MemberRemoveResponse::default())
    }

    async fn move_leader(&self, _: MoveLeaderRequest) -> Result<MoveLeaderResponse, Status> {
        Ok(MoveLeaderResponse::default())
    }
}

#[tokio::test(start_paused = true)]
async fn calls_reach_the_member_and_answers_come_back() {
    let member = Arc::new(OneMember {
        removed: Mutex::default(),
    });
    let (near, far) = tokio::io::duplex(4096);
    let server = tokio::spawn(serve(far, member.clone()));
    let mut client = Client::connect(near, "etcd-a").await.unwrap();

    assert_eq!(client.status().await.unwrap().version, "3.6.1");
    let list = client.member_list(false).await.unwrap();
    assert_eq!(list.header.unwrap().cluster_id, 9);
    assert_eq!(
        list.members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(),
        ["a", ""]
    );
    assert_eq!(client.alarms().await.unwrap()[0].alarm(), AlarmType::Nospace);
    client.move_leader(2).await.unwrap();
    client.member_remove(2).await.unwrap();
    assert_eq!(*member.removed.lock().unwrap(), [2]);

    let error = client.member_remove(7).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "MemberRemove: no etcd member with id 7 found (NotFound)"
    );
    let Error::Call { status, .. } = client.member_promote(2).await.unwrap_err() else {
        panic!("no status")
    };
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unimplemented, "not implemented: MemberPromote")
    );

    drop(client);
    server.await.unwrap().ok();
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_is_an_error_and_not_a_hang() {
    let (near, far) = tokio::io::duplex(4096);
    let client = Client::connect(near, "etcd-a").await;
    drop(far);
    match client {
        Ok(mut client) => assert!(client.status().await.is_err()),
        Err(error) => assert!(matches!(error, Error::Connect(_))),
    }
    let (near, _far) = tokio::io::duplex(64);
    assert!(matches!(
        Client::connect(near, "not a host").await,
        Err(Error::Authority(_))
    ));
}
