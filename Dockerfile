# A static binary on an empty root: no shell, no package, user 65532, read-only root.
# Podman and buildah keep the HEALTHCHECK with --format docker, as scripts/image.sh does.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/penstock ./cmd/penstock \
 && mkdir /out/root && mkdir -m 700 /out/root/data

FROM scratch
ARG VERSION=devel
LABEL org.opencontainers.image.title="Penstock" \
      org.opencontainers.image.description="Amazon Kinesis on your own machines, video first" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/penstock /penstock
# As part of a tree, so that every builder keeps its mode.
COPY --from=build --chown=65532:65532 /out/root/ /
USER 65532:65532
VOLUME /data
# RTSPS opens once a certificate is configured.
ENV PENSTOCK_DATA=/data PENSTOCK_HTTP=0.0.0.0:8080 PENSTOCK_RTSP=0.0.0.0:8554 PENSTOCK_RTSPS=0.0.0.0:8322
EXPOSE 8080 8554 8322
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/penstock", "health"]
ENTRYPOINT ["/penstock"]
CMD ["serve"]
