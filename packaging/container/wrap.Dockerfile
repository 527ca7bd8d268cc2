# Somebody's image, with miosa-env in front of its command. Only the first and the last line are to be adapted.
#
#   podman build -t your-app-with-secrets -f packaging/container/wrap.Dockerfile .

FROM your-app
COPY --from=miosa-env /miosa-env /usr/local/bin/miosa-env
ENTRYPOINT ["miosa-env", "run", "--"]
# ENTRYPOINT makes the CMD of the image below void: say both of its here, its ENTRYPOINT first.
CMD ["/app"]
