package egresstest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// objectSize is the size of the objects that clients put, in bytes.
const objectSize = 3 << 20

// store is a server like S3 in which each object answers who has signed the request. It keeps no objects.
func (w *world) store(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	version := w.signer(r, body)
	if version == 0 {
		http.Error(rw, "<Error><Code>SignatureDoesNotMatch</Code></Error>", http.StatusForbidden)
		return
	}
	if r.Method == http.MethodPut && len(body) != objectSize {
		http.Error(rw, "the object isn't complete", http.StatusBadRequest)
		return
	}
	client := strings.TrimPrefix(r.URL.Path, "/bucket/")
	line := w.saw(client, "AWS_SECRET_ACCESS_KEY", w.value("AWS_SECRET_ACCESS_KEY", version), r.Proto)
	rw.Header().Set("X-Echo", w.value("AWS_ACCESS_KEY_ID", version))
	rw.Header().Set("ETag", `"e"`)
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(rw, line)
	}
}

// signer returns the version of the key that has signed a request, as the AWS SDK signs it, and 0 if there is none.
func (w *world) signer(r *http.Request, body []byte) int {
	for version := 1; version <= 2; version++ {
		key := aws.Credentials{AccessKeyID: w.value("AWS_ACCESS_KEY_ID", version), SecretAccessKey: w.value("AWS_SECRET_ACCESS_KEY", version)}
		if signed(r, body, key) {
			return version
		}
	}
	return 0
}

// signed reports whether a request was signed with a key.
func signed(r *http.Request, body []byte, key aws.Credentials) bool {
	query := r.URL.Query()
	presigned := query.Has("X-Amz-Signature")
	names, date := query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Date")
	if !presigned {
		_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
		names, _, _ = strings.Cut(rest, ",")
		date = r.Header.Get("X-Amz-Date")
	}
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || time.Since(at).Abs() > 15*time.Minute {
		return false
	}
	again := &http.Request{Method: r.Method, Host: r.Host, URL: &url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}, Header: http.Header{}}
	for name := range strings.SplitSeq(names, ";") {
		if name == "content-length" {
			again.ContentLength = r.ContentLength
		} else if name != "host" {
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	asS3 := func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }
	if !presigned {
		sum := sha256.Sum256(body)
		hash := r.Header.Get("X-Amz-Content-Sha256")
		if hash != "UNSIGNED-PAYLOAD" && hash != hex.EncodeToString(sum[:]) {
			return false
		}
		again.URL.RawQuery = r.URL.RawQuery
		err := v4.NewSigner().SignHTTP(r.Context(), key, again, hash, "s3", "us-east-1", at, asS3)
		return err == nil && spaceless(again.Header.Get("Authorization")) == spaceless(r.Header.Get("Authorization"))
	}
	given := query.Get("X-Amz-Signature")
	for _, name := range []string{"Algorithm", "Credential", "Date", "SignedHeaders", "Signature"} {
		query.Del("X-Amz-" + name)
	}
	again.URL.RawQuery = query.Encode()
	uri, _, err := v4.NewSigner().PresignHTTP(r.Context(), key, again, "UNSIGNED-PAYLOAD", "s3", "us-east-1", at, asS3)
	return err == nil && strings.Contains(uri, "X-Amz-Signature="+given)
}

func spaceless(text string) string { return strings.ReplaceAll(text, " ", "") }
