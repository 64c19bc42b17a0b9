# syntax=docker/dockerfile:1
# The hub alone: a release build without the feature `dev`, so without the simulated Microsoft and the clock that can be
# moved. docs/OPERATIONS.md says how to run it. CI does not build this image.
#
#   docker build -t chancery .

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
# The caches are not in the image, so the program is taken out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --package chancery --bin chancery --no-default-features \
    && install -D target/release/chancery /image/usr/local/bin/chancery \
    && install -d -m 0700 /image/var/lib/chancery
# What differs in a container; everything else is the built-in default, the environment, or a file mounted in its place.
COPY <<EOF /image/etc/chancery/chancery.toml
[server]
listen = "0.0.0.0:8400"
[data]
directory = "/var/lib/chancery"
EOF

# glibc and certificate authorities: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /image/etc /etc
COPY --from=build /image/usr /usr
COPY --from=build --chown=65532:65532 /image/var/lib/chancery /var/lib/chancery
# Owned by user 65532, who has no name outside of the image: files given to it (the key!) have to be that user's.
USER 65532:65532
ENV CHANCERY_CONFIG=/etc/chancery/chancery.toml
VOLUME /var/lib/chancery
EXPOSE 8400
# It finishes what it has begun, within server.shutdown_deadline_ms: give it 30 s, since Docker's own 10 s are too few.
STOPSIGNAL SIGTERM
# Whether the process answers. One that is not ready (`chancery health`) is not helped by a restart. With TLS of its own the
# hub has another address than this one: name it, and the authority with --ca-file.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["/usr/local/bin/chancery", "health", "--live", "--url", "http://127.0.0.1:8400"]
ENTRYPOINT ["/usr/local/bin/chancery"]
CMD ["serve"]
