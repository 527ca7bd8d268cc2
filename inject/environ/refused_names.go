package environ

import "strings"

// classify returns the class of a variable. Names are case-sensitive, except those that programs read in any case:
// proxies (Python) and npm's settings.
func classify(name string) nameClass {
	switch {
	case IsOwn(name):
		return ownName
	case runsCode(name):
		return codeName
	case movesTraffic(name):
		return trafficName
	case changesBehaviour(name):
		return warnedName
	}
	return plainName
}

// IsOwn reports whether a variable belongs to miosa-env or the service manager.
func IsOwn(name string) bool {
	switch name {
	case "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET":
		return true
	}
	return hasAnyPrefix(name, "MIOSA_", "LISTEN_", "WATCHDOG_")
}

func runsCode(name string) bool {
	switch name {
	case // The dynamic linkers, and the C library.
		"SHLIB_PATH", "LIBPATH", "GLIBC_TUNABLES", "GCONV_PATH", "GETCONF_DIR", "LOCPATH", "NLSPATH",
		"MALLOC_TRACE",
		// Shells.
		"PATH", "IFS", "CDPATH", "ENV", "BASH_ENV", "BASHOPTS", "SHELLOPTS", "BASH_LOADABLES_PATH", "PS0",
		"PS4", "PROMPT_COMMAND", "GLOBIGNORE", "FPATH", "ZDOTDIR", "NULLCMD", "READNULLCMD",
		// Languages.
		"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONUSERBASE", "PYTHONWARNINGS",
		"PYTHONBREAKPOINT", "PYTHONEXECUTABLE", "PYTHONPLATLIBDIR",
		"PERL5OPT", "PERL5LIB", "PERL5DB", "PERLLIB", "PERLIO_DEBUG",
		"RUBYOPT", "RUBYLIB", "RUBYSHELL", "BUNDLE_GEMFILE",
		"NODE_OPTIONS", "NODE_PATH", "NODE_REPL_EXTERNAL_MODULE", "BUN_OPTIONS",
		"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH",
		"PHPRC", "PHP_INI_SCAN_DIR",
		"DOTNET_STARTUP_HOOKS",
		"ERL_FLAGS", "ERL_AFLAGS", "ERL_ZFLAGS", "ERL_LIBS", "ELIXIR_ERL_OPTIONS",
		"R_PROFILE", "R_PROFILE_USER", "TCLLIBPATH",
		"GOFLAGS", "MAKEFLAGS", "RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER",
		// Programs that start others, or load modules.
		"GIT_SSH", "GIT_SSH_COMMAND", "GIT_CONFIG", "GIT_EXEC_PATH", "GIT_ASKPASS", "GIT_EXTERNAL_DIFF",
		"GIT_PROXY_COMMAND", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_PAGER", "GIT_TEMPLATE_DIR",
		"SSH_ASKPASS", "SUDO_ASKPASS", "SVN_SSH", "CVS_RSH", "RSYNC_RSH", "HGRCPATH",
		"PAGER", "MANPAGER", "SYSTEMD_PAGER", "EDITOR", "VISUAL", "SUDO_EDITOR", "SYSTEMD_EDITOR", "BROWSER",
		"LESSOPEN", "LESSCLOSE",
		"OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES",
		"GTK_MODULES", "GTK_PATH", "GIO_EXTRA_MODULES", "QT_PLUGIN_PATH":
		return true
	}
	return hasAnyPrefix(name,
		"LD_", "_RLD", "DYLD_", "BASH_FUNC_", "GIT_CONFIG_", "LUA_INIT", "LUA_PATH", "LUA_CPATH",
		"CORECLR_PROFILER", "COR_PROFILER") ||
		hasPrefixFold(name, "NPM_CONFIG_")
}

func movesTraffic(name string) bool {
	switch name {
	case "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
		"NODE_TLS_REJECT_UNAUTHORIZED", "PYTHONHTTPSVERIFY", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "SSLKEYLOGFILE",
		"KUBECONFIG", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_CONTEXT", "SSH_AUTH_SOCK",
		"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE",
		"KRB5_CONFIG", "KRB5_KTNAME",
		"HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "RESOLV_HOST_CONF", "NIS_PATH":
		return true
	}
	return hasAnyPrefix(name, "GIT_SSL_", "AWS_ENDPOINT_URL") || hasSuffixFold(name, "_PROXY")
}

func changesBehaviour(name string) bool {
	switch name {
	case "HOME", "USER", "LOGNAME", "SHELL", "PWD", "TMPDIR", "TZ", "TZDIR", "LANG", "GODEBUG", "GOTRACEBACK":
		return true
	}
	return hasAnyPrefix(name, "TERM", "LC_")
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if len(s) >= len(p) && s[:len(p)] == p { // strings.HasPrefix isn't inlined (Makefile), and there are many
			return true
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
