# The service alone. It needs a PostgreSQL of version 15 or newer: docker-compose.yml brings one.

FROM rust:1.95-bookworm AS build
WORKDIR /build
ENV SQLX_OFFLINE=true CARGO_TERM_COLOR=never
COPY . .
# Downloads and compiled dependencies stay in BuildKit's caches, so a change to the code compiles the code only. A cache is not part of
# the image, hence the copy.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin couponry \
    && cp target/release/couponry /couponry

FROM debian:bookworm-slim
COPY --from=build /couponry /usr/local/bin/couponry
# Uploads are kept in TMPDIR until they are imported: /var/tmp is on a disk, /tmp may be in memory.
# There is no PostgreSQL in this image, so the service must not look for one to start.
ENV COUPONRY_LISTEN=0.0.0.0:8080 \
    COUPONRY_REQUIRE_DATABASE_URL=true \
    TMPDIR=/var/tmp
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["couponry", "healthcheck"]
ENTRYPOINT ["couponry"]
CMD ["serve"]
