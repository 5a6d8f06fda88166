# `make run` and `make test` install what is missing (scripts/prerequisites says what) and call cargo. Where nothing is missing,
# `cargo run` and `cargo test` do the same.

# The query macros use the committed .sqlx, also where DATABASE_URL names a server that they could ask.
export SQLX_OFFLINE := true

.PHONY: run test prerequisites prepare bench

# Arguments for the program: make run ARGS="serve --help"
run:
	@scripts/prerequisites run
	cargo run --release --locked -- $(ARGS)

test:
	@scripts/prerequisites
	cargo test --locked

prerequisites:
	@scripts/prerequisites

# Regenerates .sqlx after a change to a query or a migration.
prepare:
	@scripts/prerequisites
	@scripts/prepare

bench:
	@scripts/prerequisites
	cargo bench --locked
