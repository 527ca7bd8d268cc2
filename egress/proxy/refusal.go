package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/Miosa-osa/miosa-env/api"
)

// Refusal is why a proxy sent nothing, or didn't pass on the response.
type Refusal struct {
	Status  int    // of the answer; 0: 403
	Reason  Reason // for programs
	Message string // for people: one sentence without values
	Binding string // the environment variable of the binding, or ""
	Rule    string // of the binding or the policy, or ""
}

func (r *Refusal) Error() string { return r.Message }

// Reason is the machine-readable reason of a refusal. Source: docs/egress.md, "Refusals".
type Reason string

// The reasons.
const (
	reasonRequest     Reason = "request"     // it is malformed, or not one for a proxy
	reasonPlaceholder Reason = "placeholder" // a placeholder may not be sent there, or isn't known
	reasonHost        Reason = "host"        // the hosts of CONNECT, TLS and the request differ
	reasonPolicy      Reason = "policy"      // the policy denies it
	reasonPlainHTTP   Reason = "plain_http"  // a value would be sent without TLS
	reasonPlaintext   Reason = "plaintext"   // a connection without TLS to a host with rules
	reasonAddress     Reason = "address"     // the host's address isn't public
	reasonUpgrade     Reason = "upgrade"     // to HTTP/2 without TLS
	reasonResolve     Reason = "resolve"     // the host's name isn't known
	reasonConnect     Reason = "connect"     // the host doesn't answer
	reasonVerify      Reason = "certificate" // the host's certificate isn't valid
	reasonUpstream    Reason = "upstream"    // its answer isn't HTTP, or it broke off
	reasonSlow        Reason = "slow"        // the client's body came too slowly
	reasonScrub       Reason = "scrub"       // the response can't be searched for the value
	reasonBusy        Reason = "busy"        // too many connections
	reasonNoSet       Reason = "no_set"      // nothing is known of the resource
	reasonCertifying  Reason = "certify"     // the certificate authority may not certify the host
)

// proxyErrors are the error types of the Proxy-Status header. Source: RFC 9209, section 2.3.
var proxyErrors = map[Reason]string{
	reasonRequest: "http_request_error", reasonAddress: "destination_ip_prohibited", reasonResolve: "dns_error",
	reasonConnect: "destination_unavailable", reasonVerify: "tls_certificate_error", reasonUpstream: "http_protocol_error",
	reasonBusy: "connection_limit_reached",
}

// refusalBody is the answer to a refused request.
type refusalBody struct {
	Error   string `json:"error"`
	Message string `json:"message"`
	Code    string `json:"code"`
	Reason  Reason `json:"reason"`
	Binding string `json:"binding,omitempty"`
	Rule    string `json:"rule,omitempty"`
}

// body is the refusal as JSON.
func (r *Refusal) body() []byte {
	b, err := json.Marshal(refusalBody{r.Message, r.Message, api.KindOf(r.status()).Code, r.Reason, r.Binding, r.Rule})
	if err != nil {
		panic(err) // texts can be encoded
	}
	return append(b, '\n')
}

func (r *Refusal) status() int {
	if r.Status == 0 {
		return http.StatusForbidden
	}
	return r.Status
}

// proxyStatus is the value of the Proxy-Status header.
func (r *Refusal) proxyStatus() string {
	kind, ok := proxyErrors[r.Reason]
	if !ok {
		kind = "http_request_denied"
	}
	return "miosa-egress; error=" + kind + "; details=" + strconv.Quote(string(r.Reason))
}

// write answers a request.
func (r *Refusal) write(w http.ResponseWriter) {
	h := w.Header()
	clear(h)
	body := r.body()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("Proxy-Status", r.proxyStatus())
	w.WriteHeader(r.status())
	_, _ = w.Write(body) //nolint:gosec // JSON
}

// raw is the answer on a connection for which there is no http.ResponseWriter.
func (r *Refusal) raw() []byte {
	body := r.body()
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"+
		"Proxy-Status: %s\r\nConnection: close\r\n\r\n%s", r.status(), http.StatusText(r.status()), len(body), r.proxyStatus(), body)
}
