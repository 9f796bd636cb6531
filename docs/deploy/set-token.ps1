# Sets the token for the upstream in the secret of a stack. It asks for the token and does not show it. The token appears
# on no command line and in no history. The PIN and everything else in the secret do not change.
param(
    [string]$Stack = 'mcp-github',
    [string]$Region = ''
)
$ErrorActionPreference = 'Stop'
$where = @()
if ($Region) { $where = @('--region', $Region) }

$query = "Stacks[0].Outputs[?OutputKey=='SecretArn'].OutputValue"
$arn = & aws cloudformation describe-stacks --stack-name $Stack @where --output text --query $query
if ($LASTEXITCODE -ne 0 -or -not $arn) {
    Write-Host "The stack $Stack has no output SecretArn. Check the stack's name and the region, and that you are signed in."
    exit 1
}
$text = & aws secretsmanager get-secret-value --secret-id $arn @where --output text --query SecretString
if ($LASTEXITCODE -ne 0 -or -not $text) {
    Write-Host 'The secret cannot be read. Nothing was changed. The message of the AWS CLI is above.'
    exit 1
}
$secret = ($text -join "`n") | ConvertFrom-Json

$typed = Read-Host 'Token' -AsSecureString
$token = (New-Object System.Net.NetworkCredential('', $typed)).Password.Trim()
if (-not $token) {
    Write-Host 'You entered nothing. Nothing was changed.'
    exit 1
}
$secret | Add-Member -NotePropertyName 'upstream_token' -NotePropertyValue $token -Force
$json = $secret | ConvertTo-Json -Depth 10 -Compress
# The AWS CLI reads a file in the code page of the system, so only ASCII characters are safe.
$json = [regex]::Replace($json, '[^\x20-\x7E]', { param($match) '\u{0:x4}' -f [int][char]$match.Value })

# Windows has no /dev/stdin, and other programs can see arguments. So the value is in a file in the user's own temporary
# folder, for the duration of one call. WriteAllText writes no byte order mark.
$file = [System.IO.Path]::GetTempFileName()
try {
    [System.IO.File]::WriteAllText($file, $json)
    & aws secretsmanager put-secret-value --secret-id $arn @where --secret-string "file://$file" --output text --query VersionId | Out-Null
    $failed = $LASTEXITCODE -ne 0
} finally {
    Remove-Item $file
}
if ($failed) {
    Write-Host 'The secret was not changed. The message of the AWS CLI is above.'
    exit 1
}
Write-Host 'The token is set. Running instances use it within 5 minutes.'
