//! Dials in a namespace: our own stands in for a container's. Real engines test the differences.

use super::*;

/// Our own namespace, with a service on a port.
async fn ours(port: u16, address: Option<std::net::IpAddr>) -> NetNs {
    let pid = i32::try_from(std::process::id()).unwrap();
    NetNs::open(&Arc::new(Dialer::default()), pid, port, address).await.unwrap()
}

#[tokio::test]
#[ignore = "needs root"]
async fn dials_loopback_and_is_refused_exactly() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let namespace = ours(port, None).await;
    for _ in 0..3 {
        let stream = namespace.dial().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
    }
    let listens = async || match namespace.listens().await {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
        listens => Some(listens.unwrap()),
    };
    assert_ne!(listens().await, Some(Listens::No));
    drop(listener);
    assert_ne!(listens().await, Some(Listens::Yes));
    let refused = namespace.dial().await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
#[ignore = "needs root"]
async fn finds_a_service_on_the_other_loopback() {
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.expect("IPv6 on loopback");
    let port = listener.local_addr().unwrap().port();
    let namespace = ours(port, None).await;
    assert_ne!(namespace.listens().await.unwrap_or(Listens::Yes), Listens::V6);
    assert!(namespace.dial().await.unwrap().peer_addr().unwrap().is_ipv6());
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_service_that_begins_to_listen_between_two_dials_is_found_at_loopback_afterwards() {
    let early = tokio::net::TcpListener::bind("[::1]:0").await.expect("IPv6 on loopback");
    let port = early.local_addr().unwrap().port();
    let namespace = ours(port, None).await;
    let is_v4 = async || namespace.dial().await.unwrap().peer_addr().unwrap().is_ipv4();
    assert!(!is_v4().await);
    let _late = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    assert!(is_v4().await && is_v4().await);
}

#[tokio::test]
#[ignore = "needs root"]
async fn it_settles_on_an_address_that_is_not_the_first_only_when_it_is_found_there_twice() {
    let last = tokio::net::TcpListener::bind("[::1]:0").await.expect("IPv6 on loopback");
    let port = last.local_addr().unwrap().port();
    let dialer = Arc::new(Dialer::default());
    let pid = i32::try_from(std::process::id()).unwrap();
    let between = Ipv4Addr::new(127, 0, 0, 2).into();
    let namespace = NetNs::open(&dialer, pid, port, Some(between)).await.unwrap();
    let found = async || namespace.dial().await.unwrap().peer_addr().unwrap().ip();
    assert_eq!(found().await, Ipv6Addr::LOCALHOST);
    let _between = tokio::net::TcpListener::bind((between, port)).await.unwrap();
    assert_eq!(found().await, between);
    let _first = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    assert_eq!(found().await, Ipv4Addr::LOCALHOST, "the others were found once each");
}

#[tokio::test]
#[ignore = "needs root"]
async fn dials_at_the_same_time_find_an_address_once() {
    let last = tokio::net::TcpListener::bind("[::1]:0").await.expect("IPv6 on loopback");
    let port = last.local_addr().unwrap().port();
    let namespace = ours(port, None).await;
    let (one, other) = tokio::join!(namespace.dial(), namespace.dial());
    assert!([one, other].iter().all(|it| it.as_ref().unwrap().peer_addr().unwrap().is_ipv6()));
    let _first = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    assert!(namespace.dial().await.unwrap().peer_addr().unwrap().is_ipv4());
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_connection_to_an_address_that_can_be_taken_away_is_watched() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // The second stands in for an interface's address: it is loopback, and does not look like it.
    for (ip, watched) in [("127.0.0.1", false), ("::ffff:127.0.0.1", true)] {
        let mut namespace = ours(port, None).await;
        namespace.candidates = vec![(ip.parse::<std::net::IpAddr>().unwrap(), port).into()];
        let stream = namespace.dial().await.unwrap();
        assert_eq!(socket2::SockRef::from(&stream).keepalive().unwrap(), watched, "{ip}");
    }
}

#[tokio::test]
async fn a_process_that_is_not_there_has_no_namespace() {
    let dialer = Arc::new(Dialer::default());
    assert!(NetNs::open(&dialer, i32::MAX, 1, None).await.is_err());
}
