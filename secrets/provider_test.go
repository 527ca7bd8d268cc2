package secrets_test

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/Miosa-osa/miosa-env/vault"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// provider is the OAuth provider "acme" with one user, who answers with an error or, if it is "", consents. It
// checks PKCE and has no state: a code is the PKCE challenge.
type provider struct {
	*httptest.Server
	answer string
}

func newProvider(t testing.TB) *provider {
	p := &provider{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		back := url.Values{"state": {q.Get("state")}, "code": {q.Get("code_challenge")}}
		if p.answer != "" {
			back = url.Values{"state": {q.Get("state")}, "error": {p.answer}}
		}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if r.FormValue("code") != base64.RawURLEncoding.EncodeToString(sum[:]) {
			answerJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
			return
		}
		answerJSON(w, http.StatusOK, map[string]any{
			"access_token": "at-" + rand.Text(), "refresh_token": "rt-" + rand.Text(), "token_type": "bearer", "expires_in": 3600})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// at returns the option of a vault that uses the provider.
func (p *provider) at(t testing.TB) func(*vault.Config) {
	return vaulttest.WithOAuth(t, "[[provider]]\nname='acme'\ndisplay_name='Acme'\nauthorize_url='"+p.URL+"/authorize'\ntoken_url='"+
		p.URL+"/token'\nclient_id='miosa'\nclient_auth='none'\nscopes=['read']\n")
}

// visit opens a link like a user's browser, continues from the vault's page, and returns the page where it ends.
func visit(link string) (page string, err error) {
	browser := vaulttest.Browser()
	at, err := vaulttest.Continue(browser, link)
	if err != nil {
		return "", err
	}
	res, err := browser.Get(at.String())
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(res.Body)
	return string(text), cmp.Or(err, res.Body.Close())
}
