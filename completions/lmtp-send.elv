
use builtin;
use str;

set edit:completion:arg-completer[lmtp-send] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'lmtp-send'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'lmtp-send'= {
            cand -H 'Connect by TCP; repeatable: tried in order until one accepts a session'
            cand --host 'Connect by TCP; repeatable: tried in order until one accepts a session'
            cand -p 'Port, or service, of the hosts given without one [default: 24]'
            cand --port 'Port, or service, of the hosts given without one [default: 24]'
            cand -S 'Connect to a Unix-domain socket'
            cand --socket 'Connect to a Unix-domain socket'
            cand -e 'Run COMMAND and speak LMTP on its stdin and stdout (no shell)'
            cand --exec 'Run COMMAND and speak LMTP on its stdin and stdout (no shell)'
            cand --sink 'Deliver to the built-in server: Maildirs DIR/RECIPIENT/, for trying out'
            cand --bind 'Connect from this source address'
            cand -f 'Reverse-path; '''' or ''<>'' is the null sender [default: from the headers]'
            cand --from 'Reverse-path; '''' or ''<>'' is the null sender [default: from the headers]'
            cand -t 'Recipient; repeatable, commas separate [default: from the headers]'
            cand --to 'Recipient; repeatable, commas separate [default: from the headers]'
            cand -l 'The name to say in LHLO [default: this host''s name]'
            cand --lhlo 'The name to say in LHLO [default: this host''s name]'
            cand --timeout 'Time limit for the connection and for each reply [default: 120]'
            cand --data-timeout 'Time limit for the replies to the message [default: 600, or --timeout]'
            cand --deadline 'Time limit for each message, all attempts together [default: 900]'
            cand --uncertain 'How a lost reply counts: exit 75, 0 or 69 [default: defer]'
            cand --exit-style 'Codes for mta, shell, qmail or monitor [default: mta]'
            cand --report 'Report each recipient''s outcome on stdout'
            cand --report-file 'Append the report to FILE instead [form: text, or what --report says]'
            cand --ret 'How much of the message a notification returns (DSN, RFC 3461)'
            cand --envid 'Envelope identifier for notifications'
            cand --notify 'Notify the sender: never, or some of success,failure,delay'
            cand --orcpt 'Original recipient for notifications'
            cand --body 'Body: 7bit, 8bitmime or binarymime [default: 8bitmime]'
            cand --mail-param 'Another parameter for MAIL, as it is; repeatable'
            cand --rcpt-param 'Another parameter for each RCPT, as it is; repeatable'
            cand --transid 'Transaction identifier for a checkpoint (RFC 1845)'
            cand --verb 'The command that begins a transaction (RFC 821) [default: mail]'
            cand --xclient 'Attribute for XCLIENT, to a server that offers it; repeatable'
            cand --proxy 'Tell for whom the session is by the PROXY protocol, or ''local'''
            cand --tls 'Encrypt: off, opportunistic, starttls or implicit [default: off]'
            cand --tls-ca 'Trust the authorities in FILE (PEM) [default: the system''s]'
            cand --tls-cert 'Certificate to show to the server (PEM)'
            cand --tls-key 'The key of --tls-cert (PEM)'
            cand --tls-name 'Name that the certificate must bear [default: the host''s]'
            cand --tls-fingerprint 'Accept the certificate with this fingerprint and no other'
            cand -u 'Authenticate as NAME'
            cand --user 'Authenticate as NAME'
            cand --password-file 'Read the password from FILE [default: $LMTP_SEND_PASSWORD]'
            cand --password-command 'Read the password from what COMMAND prints'
            cand --auth 'SASL mechanism, as plain [default: the strongest offered]'
            cand --warning 'Monitoring: warn when the answer takes longer'
            cand --critical 'Monitoring: critical when the answer takes longer'
            cand --warning-days 'Monitoring: warn N days before the certificate expires'
            cand --vrfy 'Ask whether ADDR is known (VRFY); repeatable'
            cand --expn 'Ask who is on the list ADDR (EXPN); repeatable'
            cand --etrn 'Have the queue for DOMAIN run (ETRN, RFC 1985); repeatable'
            cand --help-from-server 'Ask for the server''s help, about TOPIC'
            cand --connections 'Sessions side by side [default: 1]'
            cand --rate 'At most so many messages per second'
            cand --repeat 'Send each message N times; ''%n'' in --to counts up from 1'
            cand --retry 'Try deferred recipients again, N times at most'
            cand --retry-for 'Try deferred recipients again for SECS, within --deadline'
            cand --summary 'Sum up the run on stderr'
            cand --config 'Read settings from FILE (TOML) instead of the usual files'
            cand --profile 'Settings of the table [profile.NAME] go before the others'
            cand --domain 'Domain of addresses without one'
            cand --aliases 'Replace recipients without a domain as FILE says (name: address, ...)'
            cand -4 'Use IPv4 only'
            cand --ipv4 'Use IPv4 only'
            cand -6 'Use IPv6 only'
            cand --ipv6 'Use IPv6 only'
            cand --keep-bcc 'Leave Bcc fields in the message'
            cand --all-or-nothing 'Cancel the whole transaction when a recipient is refused'
            cand --smtputf8 'Send internationalised mail (RFC 6531) even where no address needs it'
            cand --soft-bounce 'Make every exit code but 0 a 75, so that no mail bounces'
            cand -v 'Say a line for each recipient; twice: show the dialogue'
            cand --verbose 'Say a line for each recipient; twice: show the dialogue'
            cand --debug 'Show the dialogue with the server, secrets redacted'
            cand -q 'No diagnostics'
            cand --quiet 'No diagnostics'
            cand --no-chunking 'Send the message by DATA even where CHUNKING is offered'
            cand --no-pipelining 'Send each command when the one before has its reply'
            cand --tls-insecure 'Do not verify the server''s certificate'
            cand --auth-insecure 'Allow PLAIN and LOGIN over TCP without TLS'
            cand --probe 'Show greeting, name, extensions, TLS and the time of each step'
            cand --noop 'Ask whether the server answers at all (NOOP)'
            cand --fail-fast 'Take no further message once a recipient was not delivered to'
            cand --show-config 'Print what is in force and where it comes from; deliver nothing'
            cand --sendmail 'Take the words behind it as sendmail does; see SENDMAIL in the manual'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
    ]
    $completions[$command]
}
