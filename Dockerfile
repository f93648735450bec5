# A static binary on an empty root: no shell, no package, user 65532, read-only root.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/penstock ./cmd/penstock \
 && mkdir -p /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/penstock /penstock
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME /data
ENV PENSTOCK_DATA=/data PENSTOCK_HTTP=0.0.0.0:8080 PENSTOCK_RTSP=0.0.0.0:8554
EXPOSE 8080 8554
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/penstock", "health"]
ENTRYPOINT ["/penstock"]
CMD ["serve"]
