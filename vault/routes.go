package vault

import (
	"net/http"
	"path"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
)

// contract is every route that needs a key. A test asks each of them for what is another tenant's and
// another resource's, so a new line here is tested as soon as it stands.
func (v *Vault) contract() []route {
	return []route{
		{"POST", "/egress/secrets", tenantOnly, actSecretCreate, maxSecretBody, serveJSON(v.putSecret)},
		{"GET", "/egress/secrets", tenantOnly, actSecretRead, maxBody, serveJSON(v.listSecrets)},
		{"GET", "/egress/secrets/{id}", tenantOnly, actSecretRead, maxBody, serveJSON(v.oneSecret)},
		{"PATCH", "/egress/secrets/{id}", tenantOnly, actSecretRotate, maxSecretBody, serveJSON(v.rotateSecret)},
		{"DELETE", "/egress/secrets/{id}", tenantOnly, actSecretDelete, maxBody, serveJSON(v.deleteSecret)},

		{"POST", "/egress/bindings", tenantOnly, actBindingCreate, maxBody, serveJSON(v.createBinding)},
		{"GET", "/egress/bindings", anyKey, actBindingList, maxBody, serveJSON(v.listBindings)},
		{"DELETE", "/egress/bindings/{id}", tenantOnly, actBindingDelete, maxBody, serveJSON(v.deleteBinding)},
		{"POST", "/egress/bindings/reveal", resourceOnly, actReveal, maxBody, serveJSON(v.reveal)},

		{"POST", "/egress/resource-keys", tenantOnly, actKeyCreate, maxBody, serveJSON(v.createResourceKey)},
		{"GET", "/egress/resource-keys", tenantOnly, actKeyRead, maxBody, serveJSON(v.listResourceKeys)},
		{"DELETE", "/egress/resource-keys/{id}", tenantOnly, actKeyRevoke, maxBody, serveJSON(v.revokeResourceKey)},

		{"GET", "/egress/oauth/providers", tenantOnly, actOAuthRead, maxBody, serveJSON(v.listProviders)},
		{"POST", "/egress/oauth/start", tenantOnly, actOAuthStart, maxBody, serveJSON(v.startOAuth)},
		{"GET", "/egress/oauth/status", tenantOnly, actOAuthRead, maxBody, serveJSON(v.oauthStatus)},

		{"GET", "/egress/audit", tenantOnly, actAuditRead, maxBody, serveJSON(v.listAudit)},
		{"GET", "/egress/audit/{id}", tenantOnly, actAuditRead, maxBody, serveJSON(v.oneAuditEvent)},
	}
}

// openRoute is one that needs no key.
type openRoute struct {
	pattern string // as http.ServeMux takes it
	handle  http.HandlerFunc
}

// open is every route that needs no key.
func (v *Vault) open() []openRoute {
	return []openRoute{
		{"GET " + oauth.CallbackPath, v.callback},

		{"GET /{$}", v.page},
		{"GET /page/{file}", v.page},

		{"GET /healthz", v.healthz},
		{"GET /readyz", v.readyz},
		{"GET /metrics", v.metrics.handler().ServeHTTP},
	}
}

// Handler serves the whole contract, and what stands beside it.
func (v *Vault) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range v.routes {
		mux.Handle(rt.method+" "+basePath+rt.path, v.observe(rt.name(), v.serve(rt)))
	}
	for _, rt := range v.open() {
		_, path, _ := strings.Cut(rt.pattern, " ")
		mux.Handle(rt.pattern, v.observe(strings.TrimPrefix(path, basePath), rt.handle))
	}
	none := v.observe("none", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.noRoute(mux, w, r) }))
	mux.Handle("/", none)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Clean(r.URL.Path) != r.URL.Path {
			none.ServeHTTP(w, r) // mux would redirect; our callers follow no redirect
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// noRoute answers 405 where another method has a route, else 404.
func (v *Vault) noRoute(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		leaveUnread(w)
	}
	var allow []string
	for _, method := range []string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"} {
		if _, pattern := mux.Handler(&http.Request{Method: method, URL: r.URL, Host: r.Host}); pattern != "/" {
			allow = append(allow, method)
		}
	}
	if len(allow) == 0 || path.Clean(r.URL.Path) != r.URL.Path {
		v.refuse(w, api.NewError(api.ErrNotFound, "no such path; the API is under "+basePath))
		return
	}
	list := strings.Join(allow, ", ")
	w.Header().Set("Allow", list)
	v.refuse(w, api.NewError(api.ErrMethod, "this path takes "+list))
}
