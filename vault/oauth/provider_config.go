package oauth

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/internal/cause"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

var providerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// provider checks a [[provider]] table, and adds what its preset has.
func (f providerFile) provider(dir string, getenv func(string) string) (*Provider, error) {
	var problems []error
	add := func(text string) { problems = append(problems, errors.New(text)) }
	f.Preset, f.ClientAuth = strings.ToLower(f.Preset), strings.ToLower(f.ClientAuth)
	known, ok := presets[f.Preset]
	if f.Preset != "" && !ok {
		text := "preset: there is none of this name; there are " + strings.Join(presetNames(), ", ")
		if hint := nearest.Hint(f.Preset, presetNames()); hint != "" {
			text += ": " + hint
		}
		add(text)
	}
	p := &Provider{
		Name: cmp.Or(f.Name, f.Preset), DisplayName: cmp.Or(f.DisplayName, known.display),
		Scopes: f.Scopes, issuer: cmp.Or(f.Issuer, known.issuer), clientID: f.ClientID,
		preset: known, params: f.Params,
	}
	p.DisplayName = cmp.Or(p.DisplayName, p.Name)
	if !providerName.MatchString(p.Name) {
		add("name: want 1 to 63 small letters, digits, - and _, such as \"github\"")
	}
	if f.ClientID == "" {
		add("client_id is required: it is what the provider gave when the vault was registered there")
	}
	if f.ClientSecret != nil {
		add("client_secret doesn't belong in this file: put it in one of its own, 0600, and name that with client_secret_file, or in a systemd credential and name it with client_secret_credential")
	}
	if slices.ContainsFunc(f.Scopes, func(s string) bool { return s == "" || strings.ContainsAny(s, " \t\r\n") }) {
		add("scopes: each entry is one scope, without spaces")
	}
	for name := range f.Params {
		if reservedParams[name] {
			add("authorize_params: " + name + " is set by the vault")
		}
	}
	if err := p.locate(f, known); err != nil {
		problems = append(problems, err)
	}
	if err := p.authenticate(f, known, dir, getenv); err != nil {
		problems = append(problems, err)
	}
	if p.Scopes == nil {
		p.Scopes = []string{}
	}
	return p, errors.Join(problems...)
}

// reservedParams are the parameters of a link that the vault sets.
var reservedParams = map[string]bool{
	"response_type": true, "client_id": true, "redirect_uri": true, "scope": true, "state": true,
	"code_challenge": true, "code_challenge_method": true, "request": true, "request_uri": true, "response_mode": true,
}

// locate sets the endpoint: of two URLs, or of a preset. An issuer's is discovered later.
func (p *Provider) locate(f providerFile, known preset) error {
	var problems []error
	if f.Issuer != "" {
		if _, err := endpointURL(f.Issuer); err != nil {
			problems = append(problems, fmt.Errorf("issuer: %w", err))
		}
	}
	if (f.AuthorizeURL == "") != (f.TokenURL == "") {
		return errors.Join(append(problems, errors.New("authorize_url and token_url go together: give both, or an issuer, or a preset"))...)
	}
	for _, u := range []struct{ field, text string }{{"authorize_url", f.AuthorizeURL}, {"token_url", f.TokenURL}} {
		if u.text == "" {
			continue
		}
		if _, err := endpointURL(u.text); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", u.field, err))
		}
	}
	switch {
	case f.AuthorizeURL != "":
		p.fixed = &endpoint{authorize: f.AuthorizeURL, token: f.TokenURL}
	case f.Issuer != "": // discovered when it is needed
	case known.authorize != "":
		p.fixed = &endpoint{authorize: known.authorize, token: known.token}
	case f.Preset == "":
		problems = append(problems, errors.New("say where it is: preset, issuer, or authorize_url with token_url"))
	}
	return errors.Join(problems...)
}

// authenticate sets how the vault authenticates at the provider.
func (p *Provider) authenticate(f providerFile, known preset, dir string, getenv func(string) string) error {
	p.auth = cmp.Or(f.ClientAuth, known.auth)
	switch p.auth {
	case "", authBasic, authPost, authNone:
	default:
		return errors.New("client_auth: want basic, post or none")
	}
	switch {
	case f.SecretFile != "" && f.Credential != "":
		return errors.New("client_secret_file and client_secret_credential exclude each other")
	case p.auth == authNone:
		if f.SecretFile != "" || f.Credential != "" {
			return errors.New("client_auth is none, so there is no client secret to give")
		}
		return nil
	case f.SecretFile != "":
		p.secretFile = f.SecretFile
		if !filepath.IsAbs(p.secretFile) {
			p.secretFile = filepath.Join(dir, p.secretFile)
		}
	case f.Credential != "":
		folder := getenv("CREDENTIALS_DIRECTORY")
		if folder == "" {
			return errors.New("client_secret_credential: systemd gave this process no credentials: add LoadCredential= to its unit")
		}
		if f.Credential != filepath.Base(f.Credential) || f.Credential == ".." || f.Credential == "." {
			return errors.New("client_secret_credential: want the credential's name, not a path")
		}
		p.secretFile = filepath.Join(folder, f.Credential)
	default:
		return errors.New("client_secret_file or client_secret_credential is required; a client without a secret says client_auth = \"none\"")
	}
	_, err := p.secret() // report an error now, not when a user waits
	return err
}

// secret reads the client's secret from its file, which may change.
func (p *Provider) secret() (string, error) {
	if p.secretFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(p.secretFile)
	if err != nil {
		return "", fmt.Errorf("client secret %s: %w", p.secretFile, cause.Of(err))
	}
	secret := strings.TrimRight(strings.TrimPrefix(string(text), "\ufeff"), "\r\n")
	if secret == "" || len(secret) > 4096 || strings.ContainsAny(secret, "\r\n\x00") {
		return "", fmt.Errorf("client secret %s: want one line with the secret", p.secretFile)
	}
	return secret, nil
}
