import * as sdk from '@modelcontextprotocol/client';
import { run } from '../matrix/typescript.mjs';

await run(sdk);
