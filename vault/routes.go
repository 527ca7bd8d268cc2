package vault

import (
	"net/http"
	"path"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/page"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// keyRoutes are the routes that need a key. A test asks each of them for another tenant's and another resource's data, so
// a new route is tested too.
func (v *Vault) keyRoutes() []route {
	return []route{
		{"POST", "/egress/secrets", "secret.create", maxSecretBody, serveJSON(v.putSecret)},
		{"GET", "/egress/secrets", "secret.read", maxBody, serveList("secrets", func(f *store.SecretFilter) *store.Page { return &f.Page }, v.store.Secrets)},
		{"GET", "/egress/secrets/{id}", "secret.read", maxBody, serveOne(v.store.Secret)},
		{"PATCH", "/egress/secrets/{id}", "secret.rotate", maxSecretBody, serveJSON(v.rotateSecret)},
		{"DELETE", "/egress/secrets/{id}", "secret.delete", maxBody, serveDelete(v.store.DeleteSecret)},

		{"POST", "/egress/bindings", "binding.create", maxBody, serveJSON(v.createBinding)},
		{"GET", "/egress/bindings", "binding.list", maxBody, serveList("bindings", func(f *store.BindingFilter) *store.Page { return &f.Page }, v.store.Bindings)},
		{"PATCH", "/egress/bindings/{id}", "binding.rule", maxBody, serveJSON(v.setBindingRule)},
		{"DELETE", "/egress/bindings/{id}", "binding.delete", maxBody, serveDelete(v.store.DeleteBinding)},
		{"POST", "/egress/bindings/reveal", "reveal", maxBody, serveJSON(v.reveal)},

		{"POST", "/egress/resource-keys", "key.create", maxBody, createKey(v.store.IssueResourceKey)},
		{"GET", "/egress/resource-keys", "key.read", maxBody, serveList("resource_keys", keyPage, v.store.ResourceKeys)},
		{"DELETE", "/egress/resource-keys/{id}", "key.revoke", maxBody, serveDelete(v.store.RevokeResourceKey)},

		{"POST", "/egress/keys", "key.create", maxBody, createKey(v.store.IssueKey)},
		{"GET", "/egress/keys", "key.read", maxBody, serveList("keys", keyPage, v.store.IssuedKeys)},
		{"GET", "/egress/keys/self", "", maxBody, serveJSON(v.ownKey)},
		{"DELETE", "/egress/keys", "key.revoke", maxBody, serveJSON(v.revokeKeys)},
		{"DELETE", "/egress/keys/{id}", "key.revoke", maxBody, serveJSON(v.revokeKey)},
		{"POST", "/egress/keys/{id}/replace", "key.replace", maxBody, serveJSON(v.replaceKey)},

		{"GET", "/egress/oauth/providers", "oauth.read", maxBody, serveJSON(v.listProviders)},
		{"POST", "/egress/oauth/start", "oauth.start", maxBody, serveJSON(v.startOAuth)},
		{"GET", "/egress/oauth/status", "oauth.read", maxBody, serveJSON(v.oauthStatus)},

		{"POST", "/egress/policies", "policy.create", maxBody, serveJSON(v.createPolicy)},
		{"GET", "/egress/policies", "network.read", maxBody, serveList("policies", policyPage, v.store.Policies)},
		{"PATCH", "/egress/policies", "policy.update", maxBody, serveJSON(v.setPolicy)},
		{"GET", "/egress/policies/{id}", "network.read", maxBody, serveOne(v.store.Policy)},
		{"PATCH", "/egress/policies/{id}", "policy.update", maxBody, serveJSON(v.setPolicy)},
		{"DELETE", "/egress/policies/{id}", "policy.delete", maxBody, serveDelete(v.store.DeletePolicy)},
		{"POST", "/egress/allowlist", "allowlist.create", maxBody, serveJSON(v.allow)},
		{"GET", "/egress/allowlist", "network.read", maxBody, serveList("rules", entryPage, v.store.Allowlist)},
		{"DELETE", "/egress/allowlist/{id}", "allowlist.delete", maxBody, serveDelete(v.store.DeleteEntry)},
		{"POST", "/egress/traffic", "traffic", api.MaxTrafficBody, serveJSON(v.recordTraffic)},

		{"GET", "/egress/audit", "audit.read", maxBody, serveJSON(v.listAudit)},
		{"GET", "/egress/audit/head", "audit.read", maxBody, serveJSON(v.auditHead)},
		{"GET", "/egress/audit/verify", "audit.read", maxBody, serveJSON(v.verifyAudit)},
		{"GET", "/egress/audit/suggestions", "audit.read", maxBody, serveJSON(v.auditSuggestions)},
		{"GET", auditStreamPath, "audit.read", maxBody, serveJSON(v.followAudit)},
		{"GET", "/egress/audit/{id}", "audit.read", maxBody, serveOne(v.store.AuditEvent)},
	}
}

func keyPage(f *store.KeyFilter) *store.Page { return &f.Page }

// openRoutes are the routes that need no key, by their patterns of http.ServeMux.
func (v *Vault) openRoutes() map[string]http.HandlerFunc {
	routes := map[string]http.HandlerFunc{
		"GET " + oauth.CallbackPath: v.callback,
		"GET " + oauth.ConnectPath:  v.connectPage,
		"POST " + oauth.ConnectPath: v.connectPage,

		"GET /{$}":         v.page,
		"GET /page/{file}": v.page,

		"GET /healthz": v.healthz,
		"GET /readyz":  v.readyz,
		"GET /metrics": v.metrics.handler().ServeHTTP,
	}
	if v.conf.OwnMetrics {
		delete(routes, "GET /metrics")
	}
	return routes
}

// handler serves all routes.
func (v *Vault) handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range v.routes {
		serve := v.serve(rt)
		if rt.path == auditStreamPath {
			serve = keyInQuery(serve)
		}
		mux.Handle(rt.method+" "+basePath+rt.path, v.observe(rt.name(), serve))
	}
	for pattern, handle := range v.openRoutes() {
		_, path, _ := strings.Cut(pattern, " ")
		mux.Handle(pattern, v.observe(strings.TrimPrefix(path, basePath), handle))
	}
	unknown := v.observe("none", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.noRoute(mux, w, r) }))
	mux.Handle("/", unknown)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Clean(r.URL.Path) != r.URL.Path {
			unknown.ServeHTTP(w, r) // mux would redirect, and clients follow no redirect
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// noRoute answers 405 if the path has a route for another method, else 404.
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
		v.refuse(w, errNoPath)
		return
	}
	list := strings.Join(allow, ", ")
	w.Header().Set("Allow", list)
	v.refuse(w, api.NewError(api.ErrMethod, "this path takes "+list))
}

// page answers with the developer's page at the root, and its files under /page/.
func (v *Vault) page(w http.ResponseWriter, r *http.Request) {
	if !page.Serve(w, r, r.PathValue("file")) {
		v.refuse(w, errNoPath)
	}
}

var errNoPath = api.NewError(api.ErrNotFound, "no such path; the API is under "+basePath)
