package vault

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

	"github.com/Miosa-osa/miosa-env/api"
)

// The page is for a tenant's developer, in a browser. It is a client of the contract like any other:
// nothing here reads the store, and the key it works with never reaches this file.
//
//go:embed page
var pageFiles embed.FS

// pageHeader is sent with each file of the page. Nothing runs, is shown or is asked that doesn't come
// from this origin; no text can become code; and nobody can put the page into a frame or a form's way.
var pageHeader = map[string]string{
	// Kept by the browser, and asked for again each time: a new version of the vault is a new page.
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

// pageTypes are the kinds of file the page may have: the system's own list of types isn't asked.
var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// pageFile is one file of the page as it is served.
type pageFile struct {
	kind string // its Content-Type
	etag string
	body []byte
}

// pageByName has index.html under "" and the others under their names.
var pageByName = sync.OnceValue(func() map[string]pageFile {
	entries, err := pageFiles.ReadDir("page")
	if err != nil {
		panic(err) // it is in the binary
	}
	files := map[string]pageFile{}
	for _, e := range entries {
		body, err := pageFiles.ReadFile("page/" + e.Name())
		kind := pageTypes[path.Ext(e.Name())]
		if err != nil || kind == "" {
			panic("page/" + e.Name() + ": not a kind of file that is served")
		}
		sum := sha256.Sum256(body)
		files[strings.TrimSuffix(e.Name(), "index.html")] = pageFile{kind, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, body}
	}
	return files
})

// page answers the page at the root, and its other files below /page/.
func (v *Vault) page(w http.ResponseWriter, r *http.Request) {
	f, ok := pageByName()[r.PathValue("file")]
	if !ok {
		v.refuse(w, api.NewError(api.ErrNotFound, "no such path; the API is under "+basePath))
		return
	}
	h := w.Header()
	for name, value := range pageHeader {
		h.Set(name, value)
	}
	h.Set("Content-Type", f.kind)
	h.Set("ETag", f.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
}
