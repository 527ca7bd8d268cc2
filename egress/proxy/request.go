package proxy

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httputil"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/policy"
	"github.com/Miosa-osa/miosa-env/egress/rule"
	"github.com/Miosa-osa/miosa-env/egress/scrub"
)

// serve serves a request: to the proxy itself, or in a tunnel.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.running.Add(1)
	defer s.running.Done()
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler { //nolint:errorlint // net/http compares it too
				s.Log.Error().Bytes("stack", debug.Stack()).Msg("request failed: panic")
			}
			panic(http.ErrAbortHandler) // the connection can't be used any more
		}
	}()
	t, _ := r.Context().Value(tunnelKey{}).(*tunnel)
	if t == nil && r.Method == http.MethodConnect {
		s.connect(w, r)
		return
	}
	if t == nil && s.serveCertificate(w, r) {
		return
	}
	keepEscapes(r.URL)
	x := &exchange{s: s, scheme: "http", event: api.TrafficEvent{OccurredAt: time.Now(), Resource: s.Resource, Method: r.Method, Path: r.URL.EscapedPath()}}
	if t != nil {
		x.event.Host = cmp.Or(t.to.host, t.at.host) // of a request whose own host can't be read
		if t.secure {
			x.scheme = "https"
		}
	}
	if r.Body != nil && r.Body != http.NoBody {
		x.body = newRequestBody(w, r, s.Limits.body())
		r = r.WithContext(r.Context()) // net/http needs its own body
		r.Body = x.body
		defer x.body.end()
	}
	answer := &responseWriter{ResponseWriter: w, x: x}
	defer s.requests.Add(-1)
	if s.requests.Add(1) > int64(s.Limits.requests()) {
		x.refuse(answer, &Refusal{Status: http.StatusServiceUnavailable, Reason: reasonBusy, Message: "the resource has too many requests at the same time"})
		return
	}
	if why := x.address(t, r); why != nil {
		x.refuse(answer, why)
		return
	}
	x.forward(answer, r)
}

// exchange is one request and its response. It implements http.RoundTripper for httputil.ReverseProxy.
type exchange struct {
	s       *Server
	set     *Set   // what is known of the resource, for all of the exchange
	scheme  string // between proxy and server
	to      destination
	host    string // the Host header: the normal form
	event   api.TrafficEvent
	body    *requestBody    // nil: there is none
	scrub   *scrub.Scrubber // of the response; nil: no value was sent
	written bool            // the event
	replace bool            // a header or parameter may replace the method or path
	end     func()          // ends the connection after an upgrade; nil: the client asks for none
	remove  func()          // from Server.longLived; nil: it isn't in there
	proxy   httputil.ReverseProxy
}

// address sets the verified destination of a request.
func (x *exchange) address(t *tunnel, r *http.Request) *Refusal {
	bad := func(message string) *Refusal {
		return &Refusal{Status: http.StatusBadRequest, Reason: reasonRequest, Message: message}
	}
	switch {
	case !httpguts.ValidHeaderFieldName(r.Method): // a token, too
		return bad("the method is not a word")
	case r.Method == http.MethodConnect:
		return bad("CONNECT is only possible outside of a tunnel")
	case t == nil && r.URL.Host == "" || r.URL.Opaque != "":
		return bad("this is a proxy: want CONNECT, or an absolute URL that begins with http://")
	case r.URL.Scheme != "" && r.URL.Scheme != x.scheme:
		return bad("want a URL that begins with " + x.scheme + "://; through a proxy, https:// takes CONNECT")
	case r.URL.User != nil:
		return bad("the URL has a user name")
	case strings.ContainsAny(r.RequestURI, " #"):
		return bad("the path or query has a space or a #")
	}
	if t != nil && t.refusal != nil {
		x.event.Host = t.to.host
		return t.refusal
	}
	host := r.Host
	if host == "" && t != nil && !r.ProtoAtLeast(1, 1) {
		x.to = t.to // HTTP/1.0
		if x.to.host == "" {
			x.to = t.at
		}
		x.host = x.to.authority(false)
		return x.checkHost(t, r, "")
	}
	to, err := parseDestination(host)
	if err != nil {
		return bad("the request's host is not the name of a host")
	}
	withPort := to.port != 0
	if !withPort {
		to.port = httpPort
		if t != nil {
			to.port = t.to.port
		}
	}
	x.to = to
	x.host = to.authority(withPort)
	return x.checkHost(t, r, r.Header.Get("Host"))
}

// checkHost checks that a request is for the host of its tunnel. other is the Host header beside an :authority, or "".
func (x *exchange) checkHost(t *tunnel, r *http.Request, other string) *Refusal {
	x.event.Host = x.to.host
	if t != nil && (t.to.host != "" && t.to.host != x.to.host || t.to.port != x.to.port) {
		x.event.Host = t.to.host
		return &Refusal{
			Status: http.StatusMisdirectedRequest, Reason: reasonHost,
			Message: "the request's host, " + x.to.String() + ", is not that of the connection, " + t.to.String(),
		}
	}
	if other != "" || len(r.Header["Host"]) > 1 {
		second, err := parseDestination(other)
		if err != nil || second.host != x.to.host || second.port != 0 && second.port != x.to.port || len(r.Header["Host"]) > 1 {
			return &Refusal{Status: http.StatusBadRequest, Reason: reasonHost, Message: "the request has two hosts"}
		}
	}
	return nil
}

// forward sends the request on, if the policy and the rules of its placeholders allow it, and copies the response.
func (x *exchange) forward(w *responseWriter, r *http.Request) {
	x.set = x.s.Set()
	if why := x.set.absent(); why != nil {
		x.refuse(w, why)
		return
	}
	x.replace = rule.Override(r.Header) != "" || rule.OverridesMethod(r.URL.RawQuery)
	decision := x.decide(x.set)
	x.event.Effect, x.event.RuleID, x.event.PolicyID = decision.Verdict, decision.RuleID, decision.PolicyID
	if decision.Effect == api.EffectDeny {
		what := requestsTo(x.to)
		if x.set.policy.NeedsRequest(x.to.host) {
			what = r.Method + " " + x.event.Path + " at " + x.to.String()
			if x.replace {
				what += ", with a header or parameter that may replace the method or the path"
			}
		}
		x.refuse(w, denied(decision, what))
		return
	}
	if r.Header.Get("Upgrade") != "" {
		ctx, end := context.WithCancel(r.Context())
		r, x.end = r.WithContext(ctx), end
		defer func() {
			end()
			if x.remove != nil {
				x.remove()
			}
		}()
	}
	x.proxy = httputil.ReverseProxy{
		Rewrite: x.rewrite, Transport: x, ModifyResponse: x.response, ErrorHandler: x.failed,
		BufferPool: &x.s.buffers, FlushInterval: flushInterval, ErrorLog: quiet,
	}
	complete := false
	defer func() {
		if !complete {
			w.breakOff()
		}
	}()
	x.proxy.ServeHTTP(w, r) // panics if the response ends early
	complete = true
}

// decide is the policy's decision about the request. If servers may take another method or path for it, entries for some methods or
// paths allow nothing and deny everything.
func (x *exchange) decide(set *Set) policy.Decision {
	if x.replace {
		return set.policy.DecideHost(x.to.host)
	}
	return set.policy.Decide(x.to.host, x.event.Method, x.event.Path)
}

// forbidden reports whether a set doesn't allow the connection after an upgrade: the policy denies the request, or a binding is gone
// whose value was sent.
func (x *exchange) forbidden(set *Set) bool {
	return set.absent() != nil || x.decide(set).Effect == api.EffectDeny ||
		slices.ContainsFunc(x.event.Swapped, func(used api.EventRef) bool { return !set.table.Has(used.ID) })
}

// forwarded are headers that httputil.ReverseProxy removes. A broker passes them on, as everything else that the client sends.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// rewrite makes the request for the server. The headers that end at a proxy have been removed.
func (x *exchange) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = x.scheme, x.to.String(), x.host
	p.Out.URL.RawQuery = p.In.URL.RawQuery // not cleaned
	p.Out.Trailer = p.In.Trailer           // the same map: net/http fills it at the end of the body
	delete(p.Out.Header, "Host")           // of HTTP/2, beside :authority
	for _, name := range forwarded {
		if values, ok := p.In.Header[name]; ok {
			p.Out.Header[name] = values
		}
	}
}

// RoundTrip puts values into the request, and sends it. Errors: *Refusal; those of http.Transport.
func (x *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	transport := x.s.upstreams.Load().any
	if upgrade := r.Header.Get("Upgrade"); upgrade != "" {
		if !upgradable(upgrade) {
			return nil, &Refusal{Reason: reasonUpgrade, Message: "an upgrade to HTTP, TLS or one of several protocols is not possible through the proxy"}
		}
		transport = x.s.upstreams.Load().http1
	}
	swapped, err := x.set.swap(r, x.to)
	if err != nil {
		return nil, err
	}
	if len(swapped.Bindings) > 0 {
		if x.scheme != "https" {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return nil, &Refusal{Reason: reasonPlainHTTP, Binding: swapped.Bindings[0].ExposeAsEnv, Message: "values are only sent with TLS: use https://"}
		}
		for _, b := range swapped.Bindings {
			x.event.Swapped = append(x.event.Swapped, reference(b))
		}
		x.scrub = swapped.Scrubber()
	}
	return transport.RoundTrip(r)
}

// upgradable reports whether text is a single protocol, and not one in which further requests would reach the server unchecked.
func upgradable(protocol string) bool {
	name, _, _ := strings.Cut(strings.ToLower(protocol), "/")
	return httpguts.ValidHeaderFieldName(name) && name != "h2c" && name != "h2" && name != "http" && name != "tls"
}

// denied returns the refusal of what a policy denies, such as the result of requestsTo.
func denied(d policy.Decision, what string) *Refusal {
	return &Refusal{Reason: reasonPolicy, Rule: d.RuleID, Message: "the network policy denies " + what}
}

// requestsTo describes all requests to a destination.
func requestsTo(to destination) string { return "requests to " + to.String() }
