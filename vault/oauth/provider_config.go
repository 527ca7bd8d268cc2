package oauth

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/Miosa-osa/miosa-env/internal/cause"
	"github.com/Miosa-osa/miosa-env/internal/trusted"
)

var providerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// reservedParams are the parameters of a link that the vault sets.
var reservedParams = map[string]bool{
	"response_type": true, "client_id": true, "redirect_uri": true, "scope": true, "state": true,
	"code_challenge": true, "code_challenge_method": true, "request": true, "request_uri": true, "response_mode": true,
}

// provider checks a [[provider]] table, and adds what its preset has.
func (f providerFile) provider(dir string, getenv func(string) string) (*Provider, error) {
	var found problems
	f.Preset, f.ClientAuth = strings.ToLower(f.Preset), strings.ToLower(f.ClientAuth)
	known, ok := presets[f.Preset]
	if f.Preset != "" && !ok {
		found.add("preset: there is none of this name; there are %s%s", strings.Join(presetNames(), ", "), hint(f.Preset, presetNames()))
	}
	p := &Provider{
		Name: cmp.Or(f.Name, f.Preset), DisplayName: cmp.Or(f.DisplayName, known.display, f.Name),
		Scopes: append([]string{}, f.Scopes...), issuer: cmp.Or(f.Issuer, known.issuer), clientID: f.ClientID,
		auth: cmp.Or(f.ClientAuth, known.auth), preset: known, service: f.service(), params: f.Params,
	}
	if !providerName.MatchString(p.Name) {
		found.add("name: want 1 to 63 small letters, digits, - and _, such as \"github\"")
	}
	if f.ClientID == "" {
		found.add("client_id is required: it is what the provider gave when the vault was registered there")
	}
	if f.ClientSecret != nil {
		found.add("client_secret doesn't belong in this file: put it in one of its own, 0600, and name that with client_secret_file, or in a systemd credential and name it with client_secret_credential")
	}
	if slices.ContainsFunc(f.Scopes, func(s string) bool { return s == "" || strings.ContainsAny(s, " \t\r\n") }) {
		found.add("scopes: each entry is one scope, without spaces")
	}
	for name := range f.Params {
		if reservedParams[name] {
			found.add("authorize_params: %s is set by the vault", name)
		}
	}
	for _, u := range []struct{ field, text string }{{"issuer", f.Issuer}, {"authorize_url", f.AuthorizeURL}, {"token_url", f.TokenURL}} {
		if u.text != "" {
			found.check(u.field, checkURL(u.text))
		}
	}
	switch {
	case (f.AuthorizeURL == "") != (f.TokenURL == ""):
		found.add("authorize_url and token_url go together: give both, or an issuer, or a preset")
	case f.AuthorizeURL != "":
		p.fixed = &endpoint{Endpoint: oauth2.Endpoint{AuthURL: f.AuthorizeURL, TokenURL: f.TokenURL}}
	case f.Issuer != "": // discovered when it is needed
	case known.at.AuthURL != "":
		p.fixed = &endpoint{Endpoint: known.at}
	case f.Preset == "":
		found.add("say where it is: preset, issuer, or authorize_url with token_url")
	}
	var err error
	if p.secretFile, err = f.secretFile(p.auth, dir, getenv); err == nil {
		_, err = p.secret() // report an error now, not when a user waits
	}
	return p, errors.Join(append(found, err)...)
}

// service is the name of the API that tokens are for; "": it may be on another host than the preset's.
func (f providerFile) service() string {
	if f.Issuer+f.AuthorizeURL+f.TokenURL != "" {
		return ""
	}
	return f.Preset
}

// secretFile is the path of the client's secret; "": the client has none. auth is how the vault authenticates.
func (f providerFile) secretFile(auth, dir string, getenv func(string) string) (string, error) {
	folder := getenv("CREDENTIALS_DIRECTORY")
	switch {
	case auth != "" && authStyles[auth] == 0:
		return "", errors.New("client_auth: want basic, post or none")
	case f.SecretFile != "" && f.Credential != "":
		return "", errors.New("client_secret_file and client_secret_credential exclude each other")
	case auth == authNone && f.SecretFile+f.Credential != "":
		return "", errors.New("client_auth is none, so there is no client secret to give")
	case auth == authNone:
		return "", nil
	case filepath.IsAbs(f.SecretFile):
		return f.SecretFile, nil
	case f.SecretFile != "":
		return filepath.Join(dir, f.SecretFile), nil
	case f.Credential == "":
		return "", errors.New("client_secret_file or client_secret_credential is required; a client without a secret says client_auth = \"none\"")
	case folder == "":
		return "", errors.New("client_secret_credential: systemd gave this process no credentials: add LoadCredential= to its unit")
	case f.Credential != filepath.Base(f.Credential) || f.Credential == ".." || f.Credential == ".":
		return "", errors.New("client_secret_credential: want the credential's name, not a path")
	}
	return filepath.Join(folder, f.Credential), nil
}

// secret reads the client's secret from its file, which may change.
func (p *Provider) secret() (string, error) {
	if p.secretFile == "" {
		return "", nil
	}
	text, err := trusted.ReadSecret(p.secretFile)
	if err != nil {
		return "", fmt.Errorf("client secret %s: %w", p.secretFile, cause.Of(err))
	}
	secret := strings.TrimRight(strings.TrimPrefix(string(text), "\ufeff"), "\r\n")
	if secret == "" || len(secret) > 4096 || strings.ContainsAny(secret, "\r\n\x00") {
		return "", fmt.Errorf("client secret %s: want one line with the secret", p.secretFile)
	}
	return secret, nil
}
