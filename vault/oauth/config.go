package oauth

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/internal/cause"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/pelletier/go-toml/v2"
)

// CallbackPath is where providers send users back to, under the vault's public URL.
const CallbackPath = "/api/v1/egress/oauth/callback"

// maxFile is more than any configuration is long, in bytes.
const maxFile = 1 << 20

// file is the configuration as it is written.
type file struct {
	PublicURL    string         `toml:"public_url"`
	RedirectURIs []string       `toml:"redirect_uris"`
	Machine      machineFile    `toml:"machine"`
	Providers    []providerFile `toml:"provider"`
}

// machineFile is about client credentials, whose token URL a tenant names.
type machineFile struct {
	TokenURLs []string `toml:"token_urls"`
}

type providerFile struct {
	Name         string            `toml:"name"`
	DisplayName  string            `toml:"display_name"`
	Preset       string            `toml:"preset"`
	Issuer       string            `toml:"issuer"`
	AuthorizeURL string            `toml:"authorize_url"`
	TokenURL     string            `toml:"token_url"`
	ClientID     string            `toml:"client_id"`
	SecretFile   string            `toml:"client_secret_file"`
	Credential   string            `toml:"client_secret_credential"`
	ClientAuth   string            `toml:"client_auth"`
	Scopes       []string          `toml:"scopes"`
	Params       map[string]string `toml:"authorize_params"`

	ClientSecret any `toml:"client_secret"` // only to say where it belongs
}

// Load reads the providers from a TOML file. getenv finds the folder of systemd's credentials.
// Errors: every problem at once, each with its provider and field; none repeats a line of the file.
func Load(path string, getenv func(string) string) (*Providers, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read OAuth providers: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("read OAuth providers: %s is longer than 1 MiB", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read OAuth providers: %w", err)
	}
	p, err := parse(text, filepath.Dir(path), getenv)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func parse(text []byte, dir string, getenv func(string) string) (*Providers, error) {
	var f file
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark
	d := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, tomlProblem(err)
	}
	trim(reflect.ValueOf(&f).Elem())
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	ps := &Providers{byName: map[string]*Provider{}}
	if f.PublicURL != "" {
		u, err := ownURL(f.PublicURL)
		if err != nil {
			add("public_url: %w", err)
		} else {
			ps.PublicURL = strings.TrimSuffix(u.String(), "/")
		}
	}
	for i, uri := range f.RedirectURIs {
		if _, err := ownURL(uri); err != nil {
			add("redirect_uris, entry %d: %w", i+1, err)
		}
	}
	ps.redirectURIs = f.RedirectURIs
	for i, u := range f.Machine.TokenURLs {
		if _, err := endpointURL(u); err != nil {
			add("machine.token_urls, entry %d: %w", i+1, err)
		}
	}
	ps.machineURLs = f.Machine.TokenURLs
	for i, pf := range f.Providers {
		p, err := pf.provider(dir, getenv)
		called := cmp.Or(pf.Name, pf.Preset, fmt.Sprint("number ", i+1))
		if err != nil {
			add("provider %s: %w", called, err)
			continue
		}
		if ps.byName[p.Name] != nil {
			add("provider %s: the name is taken by an earlier one: give this one a name", called)
			continue
		}
		ps.byName[p.Name] = p
		ps.list = append(ps.list, p)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return ps, nil
}

// trim drops the white space around every text of the file.
func trim(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(setting.Trim(v.String()))
	case reflect.Slice:
		for i := range v.Len() {
			trim(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			trim(v.Field(i))
		}
	}
}

var providerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// provider checks one [[provider]] and fills in what its preset knows.
func (f providerFile) provider(dir string, getenv func(string) string) (*Provider, error) {
	var problems []error
	add := func(text string) { problems = append(problems, errors.New(text)) }
	f.Preset, f.ClientAuth = strings.ToLower(f.Preset), strings.ToLower(f.ClientAuth)
	known, ok := presets[f.Preset]
	if f.Preset != "" && !ok {
		text := "preset: there is none of this name; there are " + strings.Join(Presets(), ", ")
		if hint := nearest.Hint(f.Preset, Presets()); hint != "" {
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
	if err := p.place(f, known); err != nil {
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

// reservedParams are the vault's own in a link to a provider.
var reservedParams = map[string]bool{
	"response_type": true, "client_id": true, "redirect_uri": true, "scope": true, "state": true,
	"code_challenge": true, "code_challenge_method": true, "request": true, "request_uri": true, "response_mode": true,
}

// place finds out where the provider is: two URLs, a preset's, or an issuer to ask.
func (p *Provider) place(f providerFile, known preset) error {
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
	case f.Issuer != "": // discovered when it is first needed
	case known.authorize != "":
		p.fixed = &endpoint{authorize: known.authorize, token: known.token}
	case f.Preset == "":
		problems = append(problems, errors.New("say where it is: preset, issuer, or authorize_url with token_url"))
	}
	return errors.Join(problems...)
}

// authenticate finds out how the vault shows the provider who it is.
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
	_, err := p.secret() // better now than when a user waits
	return err
}

// secret reads the client's secret.
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

// ownURL checks a URL that browsers are sent to and that stands in no need of a query.
func ownURL(text string) (*url.URL, error) {
	u, err := endpointURL(text)
	if err == nil && (u.RawQuery != "" || u.ForceQuery) {
		err = errors.New("must have no query")
	}
	return u, err
}

// endpointURL takes https, and http to loopback: what goes there is worth stealing.
func endpointURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("want a URL such as https://id.example.com")
	case u.User != nil:
		return nil, errors.New("must hold no user name or password")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return nil, errors.New("must have no fragment")
	case u.Scheme == "https" || u.Scheme == "http" && loopbackHost(u.Hostname()):
		return u, nil
	}
	return nil, errors.New("must begin with https:// (http:// is for loopback only)")
}

// fields are the names of all fields of the file.
func fields() (names []string) {
	for _, table := range []any{file{}, machineFile{}, providerFile{}} {
		for f := range reflect.TypeOf(table).Fields() {
			names = append(names, f.Tag.Get("toml"))
		}
	}
	return names
}

// tomlProblem says where and what, without the line itself: it may hold what doesn't belong there.
func tomlProblem(err error) error {
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var problems []error
		for _, e := range strict.Errors {
			line, _ := e.Position()
			problem := fmt.Sprintf("line %d: unknown field %q", line, strings.Join(e.Key(), "."))
			if hint := nearest.Hint(e.Key()[len(e.Key())-1], fields()); hint != "" {
				problem += ": " + hint
			}
			problems = append(problems, errors.New(problem))
		}
		return errors.Join(problems...)
	}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := e.Position()
		if key := strings.Join(e.Key(), "."); key != "" {
			return fmt.Errorf("line %d: %s: want another type of value", line, key)
		}
		return fmt.Errorf("line %d: not TOML", line)
	}
	return errors.New("not TOML")
}
