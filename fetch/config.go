package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/rs/zerolog"
)

// DefaultBaseURL is the API of MIOSA's platform.
const DefaultBaseURL = "https://api.miosa.ai/api/v1"

// DefaultTimeout is the time limit of one call, with retries.
const DefaultTimeout = 10 * time.Second

// Config configures a Client.
type Config struct {
	// BaseURL is https, or http to loopback. If its path is empty, /api/v1 is appended. Empty means DefaultBaseURL.
	BaseURL string
	// Key is a resource key or a tenant key. Required. A vault's root key is refused with api.ErrRootKey.
	Key api.Key
	// Reread reads the key again from its source. It is called, by one call at a time, after the vault has refused a key
	// with 401 or 403. If it returns a key other than refused, the call is repeated. Nil means that the key cannot be
	// read again.
	Reread func(ctx context.Context, refused api.Key) (api.Key, error)
	// CAFile is a PEM file with the only root certificates to trust. Empty means the system's. It is read even for http,
	// so that a wrong path is noticed.
	CAFile string
	// Proxy is the URL of an http or https proxy. Empty means none: variables such as HTTPS_PROXY are not read.
	Proxy string
	// Timeout limits a call with all its retries; the wait of a reveal is added. Zero means DefaultTimeout.
	Timeout time.Duration
	// Log receives retries at debug level, and a warning if the vault returns no values. The zero Logger discards them.
	Log zerolog.Logger
	// UserAgent is the User-Agent header. Empty means "miosa-env".
	UserAgent string
}

func badBase(message string) error {
	return &Problem{Message: message, Fix: "give the vault's address, such as " + DefaultBaseURL + "; plain http is for a vault on this machine"}
}

func badProxy(message string) error {
	return &Problem{Message: message, Fix: "give the proxy's address in --proxy or MIOSA_PROXY, such as http://proxy.example.com:3128, or leave it out"}
}

// Validate returns all problems of the configuration, joined. It opens no file.
func (c Config) Validate() error {
	_, _, err := c.parse()
	return err
}

// parse returns BaseURL in its normal form and Proxy, nil if there is none. Its error is that of Validate.
func (c Config) parse() (base, proxy *url.URL, err error) {
	base, err = c.base()
	if c.Key.Len() == 0 {
		err = errors.Join(err, errors.New("a key is required"))
	}
	if root := c.Key.CheckSent(); root != nil {
		err = errors.Join(err, fmt.Errorf("the key is %w", root))
	}
	if c.Timeout < 0 {
		err = errors.Join(err, fmt.Errorf("timeout %s is negative", c.Timeout))
	}
	if c.Proxy == "" {
		return base, nil, err
	}
	proxy, invalid := c.proxy()
	if invalid == nil && base != nil && base.Scheme == "http" {
		invalid = &Problem{
			Message: "a proxy is for https only: over http it would see the key",
			Fix:     "leave out --proxy and MIOSA_PROXY, or give the vault's https address in --base-url or MIOSA_BASE_URL",
		}
	}
	return base, proxy, errors.Join(err, invalid)
}

// proxy parses and checks Proxy.
func (c Config) proxy() (*url.URL, error) {
	text := setting.Trim(c.Proxy)
	if strings.ContainsFunc(text, unicode.IsSpace) {
		return nil, badProxy("the proxy's URL has white space in it")
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, badProxy("the proxy isn't a URL: want http://HOST:PORT or https://HOST:PORT") // not repeated: it may contain a password
	}
	return u, nil
}
