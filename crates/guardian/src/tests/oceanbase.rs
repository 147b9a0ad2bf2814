//! What one server of OceanBase's kernel answers.

use engine::SqlConfig;
use testkit::Seekdb;

use crate::{DatabaseGroup as _, Error, OceanBase};

#[tokio::test]
async fn a_lone_server_leads_and_says_that_it_cannot_hand_over() {
    let server = Seekdb::shared();
    let member = format!("s1=east=127.0.0.1:{}", server.port()).parse().expect("a member");
    let login = SqlConfig::parse(&format!("{}/oceanbase", server.url())).expect("a good URL");
    let group = OceanBase::new(vec![member], login, "sys".parse().expect("a name"));
    let survey = group.survey().await;
    let leader = survey.leader.expect("it leads");
    assert_eq!((leader.name.as_str(), survey.epoch), ("s1", Some(leader.epoch)));
    let refused = group.fail_over(leader.epoch, None).await;
    let said = refused.expect_err("there is nobody else").to_string();
    assert!(said.contains("1064") || said.contains("syntax"), "{said}");
    assert!(matches!(group.fail_over(leader.epoch.next(), None).await, Err(Error::Moved { .. })));
    assert_eq!(group.tend(&leader).await.expect("nothing to do"), []);
}
