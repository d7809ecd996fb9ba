
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'lmtp-send' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'lmtp-send'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'lmtp-send' {
            [CompletionResult]::new('-H', '-H ', [CompletionResultType]::ParameterName, 'Connect by TCP; repeatable: hosts are tried in order')
            [CompletionResult]::new('--host', '--host', [CompletionResultType]::ParameterName, 'Connect by TCP; repeatable: hosts are tried in order')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Port or service of hosts given without one [default: 24]')
            [CompletionResult]::new('--port', '--port', [CompletionResultType]::ParameterName, 'Port or service of hosts given without one [default: 24]')
            [CompletionResult]::new('-S', '-S ', [CompletionResultType]::ParameterName, 'Connect to a Unix-domain socket')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'Connect to a Unix-domain socket')
            [CompletionResult]::new('-e', '-e', [CompletionResultType]::ParameterName, 'Run COMMAND and speak LMTP on its stdin and stdout (no shell)')
            [CompletionResult]::new('--exec', '--exec', [CompletionResultType]::ParameterName, 'Run COMMAND and speak LMTP on its stdin and stdout (no shell)')
            [CompletionResult]::new('--sink', '--sink', [CompletionResultType]::ParameterName, 'Deliver to Maildirs DIR/RECIPIENT/ by the built-in test server')
            [CompletionResult]::new('--bind', '--bind', [CompletionResultType]::ParameterName, 'Connect from this source address')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Sender; '''' or ''<>'' is the null sender [default: from the headers]')
            [CompletionResult]::new('--from', '--from', [CompletionResultType]::ParameterName, 'Sender; '''' or ''<>'' is the null sender [default: from the headers]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'Recipient; repeatable, or separated by commas [default: from the headers]')
            [CompletionResult]::new('--to', '--to', [CompletionResultType]::ParameterName, 'Recipient; repeatable, or separated by commas [default: from the headers]')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Client name sent in LHLO [default: this host''s name]')
            [CompletionResult]::new('--lhlo', '--lhlo', [CompletionResultType]::ParameterName, 'Client name sent in LHLO [default: this host''s name]')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Time limit for the connection and for each reply [default: 120]')
            [CompletionResult]::new('--data-timeout', '--data-timeout', [CompletionResultType]::ParameterName, 'Time limit for the replies to the message [default: 600, or --timeout]')
            [CompletionResult]::new('--deadline', '--deadline', [CompletionResultType]::ParameterName, 'Time limit for each message, all attempts together [default: 900]')
            [CompletionResult]::new('--uncertain', '--uncertain', [CompletionResultType]::ParameterName, 'How to count a recipient whose reply was lost: exit 75, 0 or 69 [default: defer]')
            [CompletionResult]::new('--exit-style', '--exit-style', [CompletionResultType]::ParameterName, 'Exit codes for mta, shell, qmail or monitor [default: mta]')
            [CompletionResult]::new('--report', '--report', [CompletionResultType]::ParameterName, 'Report each recipient''s outcome on stdout')
            [CompletionResult]::new('--report-file', '--report-file', [CompletionResultType]::ParameterName, 'Append the report to FILE, as text unless --report says otherwise')
            [CompletionResult]::new('--syslog', '--syslog', [CompletionResultType]::ParameterName, 'Write each outcome to syslog as well [default: mail]')
            [CompletionResult]::new('--ret', '--ret', [CompletionResultType]::ParameterName, 'How much of the message a notification returns (DSN, RFC 3461)')
            [CompletionResult]::new('--envid', '--envid', [CompletionResultType]::ParameterName, 'Envelope identifier for notifications')
            [CompletionResult]::new('--notify', '--notify', [CompletionResultType]::ParameterName, 'Notify the sender: never, or some of success,failure,delay')
            [CompletionResult]::new('--orcpt', '--orcpt', [CompletionResultType]::ParameterName, 'Original recipient for notifications')
            [CompletionResult]::new('--body', '--body', [CompletionResultType]::ParameterName, 'Body: 7bit, 8bitmime or binarymime [default: 8bitmime]')
            [CompletionResult]::new('--mail-param', '--mail-param', [CompletionResultType]::ParameterName, 'Add a parameter to MAIL, sent as given; repeatable')
            [CompletionResult]::new('--rcpt-param', '--rcpt-param', [CompletionResultType]::ParameterName, 'Add a parameter to each RCPT, sent as given; repeatable')
            [CompletionResult]::new('--transid', '--transid', [CompletionResultType]::ParameterName, 'Transaction identifier for a checkpoint (RFC 1845)')
            [CompletionResult]::new('--verb', '--verb', [CompletionResultType]::ParameterName, 'The command that begins a transaction (RFC 821) [default: mail]')
            [CompletionResult]::new('--test', '--test', [CompletionResultType]::ParameterName, 'Send a small test message instead of FILE')
            [CompletionResult]::new('--xclient', '--xclient', [CompletionResultType]::ParameterName, 'Attribute for XCLIENT, to a server that offers it; repeatable')
            [CompletionResult]::new('--proxy', '--proxy', [CompletionResultType]::ParameterName, 'Send a PROXY protocol header for this client address, or ''local''')
            [CompletionResult]::new('--tls', '--tls', [CompletionResultType]::ParameterName, 'Encrypt: off, opportunistic, starttls or implicit [default: off]')
            [CompletionResult]::new('--tls-ca', '--tls-ca', [CompletionResultType]::ParameterName, 'Trust the CA certificates in FILE (PEM) [default: the system''s]')
            [CompletionResult]::new('--tls-cert', '--tls-cert', [CompletionResultType]::ParameterName, 'Client certificate (PEM)')
            [CompletionResult]::new('--tls-key', '--tls-key', [CompletionResultType]::ParameterName, 'Private key of --tls-cert (PEM)')
            [CompletionResult]::new('--tls-name', '--tls-name', [CompletionResultType]::ParameterName, 'Name the server''s certificate must have [default: the host''s]')
            [CompletionResult]::new('--tls-fingerprint', '--tls-fingerprint', [CompletionResultType]::ParameterName, 'Accept only the server certificate with this fingerprint')
            [CompletionResult]::new('-u', '-u', [CompletionResultType]::ParameterName, 'Authenticate as NAME')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'Authenticate as NAME')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'Read the password from FILE [default: $LMTP_SEND_PASSWORD]')
            [CompletionResult]::new('--password-command', '--password-command', [CompletionResultType]::ParameterName, 'Run COMMAND and read the password from its output')
            [CompletionResult]::new('--auth', '--auth', [CompletionResultType]::ParameterName, 'SASL mechanism, such as plain [default: the strongest offered]')
            [CompletionResult]::new('--warning', '--warning', [CompletionResultType]::ParameterName, 'Monitoring: warn when the answer takes longer')
            [CompletionResult]::new('--critical', '--critical', [CompletionResultType]::ParameterName, 'Monitoring: critical when the answer takes longer')
            [CompletionResult]::new('--warning-days', '--warning-days', [CompletionResultType]::ParameterName, 'Monitoring: warn N days before the certificate expires')
            [CompletionResult]::new('--vrfy', '--vrfy', [CompletionResultType]::ParameterName, 'Ask whether ADDR is known (VRFY); repeatable')
            [CompletionResult]::new('--expn', '--expn', [CompletionResultType]::ParameterName, 'Ask who is on the list ADDR (EXPN); repeatable')
            [CompletionResult]::new('--etrn', '--etrn', [CompletionResultType]::ParameterName, 'Ask the server to send its queue for DOMAIN (ETRN); repeatable')
            [CompletionResult]::new('--help-from-server', '--help-from-server', [CompletionResultType]::ParameterName, 'Ask for the server''s help text, about TOPIC')
            [CompletionResult]::new('--files-from', '--files-from', [CompletionResultType]::ParameterName, 'Send the files named in FILE, one per line (''-'' is standard input)')
            [CompletionResult]::new('--shard', '--shard', [CompletionResultType]::ParameterName, 'Send only part K of N of the messages')
            [CompletionResult]::new('--ledger', '--ledger', [CompletionResultType]::ParameterName, 'Record deliveries in DIR, so that a repeated run sends no second copy')
            [CompletionResult]::new('--ledger-days', '--ledger-days', [CompletionResultType]::ParameterName, 'Keep the records of --ledger at most N days [default: 7]')
            [CompletionResult]::new('--connections', '--connections', [CompletionResultType]::ParameterName, 'Open N sessions in parallel [default: 1]')
            [CompletionResult]::new('--rate', '--rate', [CompletionResultType]::ParameterName, 'Send at most N messages per second')
            [CompletionResult]::new('--repeat', '--repeat', [CompletionResultType]::ParameterName, 'Send each message N times; ''%n'' in --to counts up from 1')
            [CompletionResult]::new('--retry', '--retry', [CompletionResultType]::ParameterName, 'Try deferred recipients again, N times at most')
            [CompletionResult]::new('--retry-for', '--retry-for', [CompletionResultType]::ParameterName, 'Try deferred recipients again for SECS, within --deadline')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Print a summary of the run on stderr')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Read settings from FILE (TOML) instead of the usual files')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Use the settings in the table [profile.NAME] first')
            [CompletionResult]::new('--domain', '--domain', [CompletionResultType]::ParameterName, 'Add this domain to addresses without one')
            [CompletionResult]::new('--aliases', '--aliases', [CompletionResultType]::ParameterName, 'Replace recipients without a domain by their entries in FILE (name: address, ...)')
            [CompletionResult]::new('-4', '-4', [CompletionResultType]::ParameterName, 'Use IPv4 only')
            [CompletionResult]::new('--ipv4', '--ipv4', [CompletionResultType]::ParameterName, 'Use IPv4 only')
            [CompletionResult]::new('-6', '-6', [CompletionResultType]::ParameterName, 'Use IPv6 only')
            [CompletionResult]::new('--ipv6', '--ipv6', [CompletionResultType]::ParameterName, 'Use IPv6 only')
            [CompletionResult]::new('--keep-bcc', '--keep-bcc', [CompletionResultType]::ParameterName, 'Do not remove Bcc fields from the message')
            [CompletionResult]::new('--all-or-nothing', '--all-or-nothing', [CompletionResultType]::ParameterName, 'Deliver to nobody when any recipient is refused')
            [CompletionResult]::new('--smtputf8', '--smtputf8', [CompletionResultType]::ParameterName, 'Send internationalised mail (RFC 6531) even where no address needs it')
            [CompletionResult]::new('--soft-bounce', '--soft-bounce', [CompletionResultType]::ParameterName, 'Exit with 75 for every failure, so that no mail bounces')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print a line for each recipient; -vv: show the dialogue')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print a line for each recipient; -vv: show the dialogue')
            [CompletionResult]::new('--debug', '--debug', [CompletionResultType]::ParameterName, 'Show the dialogue with the server, secrets redacted')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no diagnostics')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no diagnostics')
            [CompletionResult]::new('--no-chunking', '--no-chunking', [CompletionResultType]::ParameterName, 'Send the message by DATA even if CHUNKING is offered')
            [CompletionResult]::new('--no-pipelining', '--no-pipelining', [CompletionResultType]::ParameterName, 'Wait for the reply to each command before sending the next')
            [CompletionResult]::new('--tls-insecure', '--tls-insecure', [CompletionResultType]::ParameterName, 'Do not verify the server''s certificate')
            [CompletionResult]::new('--auth-insecure', '--auth-insecure', [CompletionResultType]::ParameterName, 'Allow PLAIN and LOGIN over TCP without TLS')
            [CompletionResult]::new('--probe', '--probe', [CompletionResultType]::ParameterName, 'Show what the server offers, its certificate and the time of each step')
            [CompletionResult]::new('--noop', '--noop', [CompletionResultType]::ParameterName, 'Ask whether the server answers (NOOP)')
            [CompletionResult]::new('--mbox', '--mbox', [CompletionResultType]::ParameterName, 'Read each FILE as an mbox and send each of its messages')
            [CompletionResult]::new('--header-recipients', '--header-recipients', [CompletionResultType]::ParameterName, 'Send messages of an mbox or directory to the recipients in their headers')
            [CompletionResult]::new('--fail-fast', '--fail-fast', [CompletionResultType]::ParameterName, 'Stop after the first message that is not delivered to everybody')
            [CompletionResult]::new('--show-config', '--show-config', [CompletionResultType]::ParameterName, 'Print the settings in force and where they come from, and exit')
            [CompletionResult]::new('--sendmail', '--sendmail', [CompletionResultType]::ParameterName, 'Read all further arguments as sendmail does; see SENDMAIL in the manual')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
