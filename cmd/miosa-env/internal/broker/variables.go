package broker

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// local are the hosts that programs don't ask the broker for: of another machine it would be the loopback address.
var local = []string{"localhost", "127.0.0.1", "::1"}

// proxies are the variables with the URL of the proxy. Curl reads http_proxy in lower case only, as others read only one case of any
// of them. ALL_PROXY is for WebSockets and what else has no variable of its own.
var proxies = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"}

// bundles are the variables with the path of a PEM file. Most programs trust what is in it and nothing else; Node and Deno trust it
// too.
var bundles = []string{
	"SSL_CERT_FILE",                    // OpenSSL and with it Python, Ruby, PHP, Perl and .NET; Go; Rust's native-tls and rustls-native-certs; uv; httpx
	"CURL_CA_BUNDLE",                   // curl, Requests
	"GIT_SSL_CAINFO",                   // git
	"REQUESTS_CA_BUNDLE",               // Python's Requests
	"PIP_CERT",                         // pip
	"NODE_EXTRA_CA_CERTS",              // Node, npm, Bun
	"DENO_CERT",                        // Deno
	"AWS_CA_BUNDLE",                    // AWS's command and SDKs
	"CARGO_HTTP_CAINFO",                // Cargo
	"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", // gRPC for C++, Python, Ruby and PHP
}

// gitCount is the variable with the number of variables that set options of git.
const gitCount = "GIT_CONFIG_COUNT"

// paths are the files that variables name.
type paths struct {
	bundle string // PEM
	store  string // PKCS #12, for Java
	wget   string // a configuration of Wget; empty: it has one
}

// Direct returns the hosts that NO_PROXY or no_proxy keeps from the broker, without those of this machine. "*" is every host.
func Direct(get func(name string) string) []string {
	list := strings.FieldsFunc(cmp.Or(get("NO_PROXY"), get("no_proxy")), func(r rune) bool { return r == ',' || r == ' ' })
	return slices.DeleteFunc(list, func(host string) bool { return slices.Contains(local, host) })
}

// variables returns the variables, as NAME=value, that point programs to the broker. get returns those that the command has without
// them, or "": NO_PROXY, JAVA_TOOL_OPTIONS and git's options are extended.
func (b *Broker) variables(get func(name string) string, at paths) (list []string) {
	set := func(value string, names ...string) {
		for _, name := range names {
			list = append(list, name+"="+value)
		}
	}
	set(b.url(), proxies...)
	set(strings.Join(append(Direct(get), local...), ","), "NO_PROXY", "no_proxy")
	set("1", "NODE_USE_ENV_PROXY")
	set(at.bundle, bundles...)
	// Debian 12's git (libcurl 7.88) loses pushes over HTTP/2 that are larger than what the kernel takes at once.
	count := get(gitCount)
	if n, err := strconv.Atoi(cmp.Or(count, "0")); err == nil && n >= 0 { // otherwise git refuses it
		at := strconv.Itoa(n)
		set(strconv.Itoa(n+1), gitCount)
		set("http.version", "GIT_CONFIG_KEY_"+at)
		set("HTTP/1.1", "GIT_CONFIG_VALUE_"+at)
	}
	if at.wget != "" {
		set(at.wget, "WGETRC")
	}
	set(strings.TrimSpace(get("JAVA_TOOL_OPTIONS")+" "+strings.Join([]string{
		"-Dhttp.proxyHost=" + b.host, "-Dhttp.proxyPort=" + b.port, "-Dhttps.proxyHost=" + b.host, "-Dhttps.proxyPort=" + b.port,
		"-Djavax.net.ssl.trustStore=" + at.store, "-Djavax.net.ssl.trustStoreType=PKCS12", "-Djavax.net.ssl.trustStorePassword=",
	}, " ")), "JAVA_TOOL_OPTIONS")
	return list
}
