//! nginx that keeps connections to the service open.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Proxy, free_address, is_installed};
use crate::faults::random::Random;
use crate::support::OPERATOR_TOKEN;
use crate::support::database::TestDatabase;
use crate::support::program::{Client, Service, couponry, folder};

const CLIENTS: u64 = 24;
const LOAD: Duration = Duration::from_secs(20);
/// Longer than the time limit of a header.
const MAX_GAP_MS: u64 = 8000;

#[tokio::test]
async fn requests_at_random_gaps_never_meet_a_connection_that_the_service_closes() {
    if !is_installed("nginx") {
        return;
    }
    let folder = folder();
    let database = TestDatabase::create().await;
    let mut command = couponry(folder.path());
    command
        .env("DATABASE_URL", database.url())
        .env("COUPONRY_OPERATOR_TOKEN", OPERATOR_TOKEN);
    let service = Service::start(folder.path(), &mut command);
    let address = free_address(1);
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log nginx.log;
         events {{ worker_connections 256; }}
         http {{
           access_log off;
           client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
           upstream couponry {{ server {}; keepalive 32; }}
           server {{
             listen {address};
             location / {{
               proxy_pass http://couponry;
               proxy_http_version 1.1;
               proxy_set_header Connection \"\";
               proxy_set_header Host $host;
             }}
           }}
         }}",
        service.address
    );
    let dir = folder.path().join("nginx");
    fs::create_dir(&dir).expect("the folder is ours");
    fs::write(dir.join("nginx.conf"), config).expect("the folder is ours");
    let dir_name = dir.display().to_string();
    let arguments = ["-p", &dir_name, "-e", "nginx.log", "-c", "nginx.conf"];
    let _nginx = Proxy::start("nginx", &arguments, &dir, address);

    let operator = Client::at(address, OPERATOR_TOKEN);
    let shop = operator.new_shop();
    let set = shop.new_set(&json!({"name": "Birthday", "type": "single", "code": "CAKE"}));
    let random = Random::new(17);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (shop, set) = (shop.clone(), set.clone());
            let mut random = random.fork(client);
            std::thread::spawn(move || {
                let end = Instant::now() + LOAD;
                let mut served = 0;
                while Instant::now() < end {
                    let contact = format!("{client}-{served}");
                    let assigned = shop.assign(&set, &contact, None).expect("an answer");
                    assigned.expect(201);
                    served += 1;
                    std::thread::sleep(Duration::from_millis(random.below(MAX_GAP_MS)));
                }
                served
            })
        })
        .collect();
    let served: i32 = clients
        .into_iter()
        .map(|client| client.join().expect("each request was served"))
        .sum();
    let stored = database
        .query_value("select count(*)::integer from assignments")
        .await;
    assert_eq!(stored, served);
}
