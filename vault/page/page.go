// Package page has what a vault shows in a browser: the page for a tenant's developer, which is a client of the API
// like others, and the page that a user sees after connecting an account.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// files are the developer's page. Its key never reaches this package.
//
//go:embed static
var files embed.FS

// header is sent with each file. The page loads nothing from other origins, text can't become code, and no
// other page can put this one into a frame.
var header = map[string]string{
	// The browser revalidates its copy each time: a new version of the vault has a new page.
	"Cache-Control": "no-cache",
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy": "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), geolocation=(), " +
		"gyroscope=(), hid=(), magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-get=(), " +
		"screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=(), clipboard-read=(), clipboard-write=(self)",
	"Referrer-Policy": "no-referrer",
}

// contentTypes are by extension, independent of the system's list.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// file is one file as it is served.
type file struct {
	contentType string
	etag        string
	body        []byte
}

// byName has index.html under "".
var byName = sync.OnceValue(func() map[string]file {
	entries, err := files.ReadDir("static")
	if err != nil {
		panic(err) // it is in the binary
	}
	served := map[string]file{}
	for _, e := range entries {
		body, err := files.ReadFile("static/" + e.Name())
		kind := contentTypes[path.Ext(e.Name())]
		if err != nil || kind == "" {
			panic("static/" + e.Name() + ": no content type")
		}
		sum := sha256.Sum256(body)
		served[strings.TrimSuffix(e.Name(), "index.html")] = file{kind, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, body}
	}
	return served
})

// Serve answers with a file of the page: "" is the page itself. It reports false if there is no such file.
func Serve(w http.ResponseWriter, r *http.Request, name string) bool {
	f, ok := byName()[name]
	if !ok {
		return false
	}
	h := w.Header()
	for name, value := range header {
		h.Set(name, value)
	}
	h.Set("Content-Type", f.contentType)
	h.Set("ETag", f.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
	return true
}
