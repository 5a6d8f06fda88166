# `make run` and `make test` install what is missing (scripts/prerequisites says what) and call cargo. Where nothing is missing,
# `cargo run` does the same, and `cargo test` runs the tests of the service and of the dashboard, all at once.

# The query macros use the committed .sqlx, also where DATABASE_URL names a server that they could ask.
export SQLX_OFFLINE := true

.PHONY: run test check dashboard prerequisites prepare bench screenshots docs

# Arguments for the program: make run ARGS="serve --help"
run:
	@scripts/prerequisites run
	cargo run --release --locked -- $(ARGS)

# The tests of the dashboard in a browser are skipped where it cannot be had, unless REQUIRE_BROWSER=1. They run alone, because other
# tests slow them down most.
test:
	@scripts/prerequisites
	@scripts/prerequisites browser || [ "$$REQUIRE_BROWSER" != 1 ]
	cargo test --workspace --locked --features couponry/otlp --test it -- dashboard::browser
	cargo test --workspace --locked --features couponry/otlp -- --skip dashboard::browser

# The types of the dashboard.
check:
	@scripts/prerequisites node
	@npm run --silent check --prefix dashboard

# Builds the dashboard from its sources into dashboard/dist, which is committed.
dashboard:
	@scripts/prerequisites node
	@scripts/build-dashboard

prerequisites:
	@scripts/prerequisites

# Regenerates .sqlx after a change to a query or a migration.
prepare:
	@scripts/prerequisites
	@scripts/prepare

bench:
	@scripts/prerequisites
	cargo bench --locked

# Regenerates the pictures of the README and the book.
screenshots:
	@scripts/prerequisites browser
	cargo build --release --locked
	node tests/browser/screenshots.js target/release/couponry

# Builds the book in docs/ into target/book.
docs:
	@command -v mdbook >/dev/null || { echo "docs: mdbook is missing; install it with: cargo install mdbook --locked" >&2; exit 1; }
	mdbook build docs
