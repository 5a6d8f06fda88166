# The service alone, in an image without a shell or libraries. It needs a PostgreSQL of version 15 or newer: docker-compose.yml brings one.

# On Alpine, Rust links programs statically.
FROM rust:1.95-alpine AS build
# Lists the dependencies inside the program, where scanners find them.
RUN cargo install cargo-auditable --locked --version 0.7.7
WORKDIR /build
ENV SQLX_OFFLINE=true CARGO_TERM_COLOR=never
COPY . .
# Optional features of Cargo.toml, separated by commas.
ARG FEATURES="otlp"
# Downloads and compiled dependencies stay in BuildKit's caches, so a change to the code compiles the code only. A cache is not part of
# the image, hence the copy.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo auditable build --release --locked --bin couponry --features "$FEATURES" \
    && install -D target/release/couponry /root-folder/usr/local/bin/couponry \
    && install -d -m 1777 /root-folder/var/tmp

# The program as a file: docker buildx build --target program --output type=local,dest=. .
FROM scratch AS program
COPY --from=build /root-folder/usr/local/bin/couponry /

FROM scratch
LABEL org.opencontainers.image.title="Couponry" \
      org.opencontainers.image.description="A self-hosted, multi-tenant coupon service" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /root-folder /
# Uploads are kept in TMPDIR until they are imported: it must be on a disk, not in memory.
# There is no PostgreSQL in this image, so the service must not look for one to start.
ENV PATH=/usr/local/bin \
    COUPONRY_LISTEN=0.0.0.0:8080 \
    COUPONRY_REQUIRE_DATABASE_URL=true \
    TMPDIR=/var/tmp
VOLUME /var/tmp
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["couponry", "healthcheck"]
ENTRYPOINT ["couponry"]
CMD ["serve"]
