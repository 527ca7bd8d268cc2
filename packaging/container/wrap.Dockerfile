# An existing image with miosa-env in front of its command. Adapt only the first and the last line.
#
#   podman build -t your-app-with-secrets -f packaging/container/wrap.Dockerfile .

FROM your-app
COPY --from=miosa-env /miosa-env /usr/local/bin/miosa-env
ENTRYPOINT ["miosa-env", "run", "--"]
# ENTRYPOINT clears the CMD of the base image: repeat its ENTRYPOINT and CMD here.
CMD ["/app"]
