import { run, SDK_1 } from '../matrix/typescript.mjs';

await run(SDK_1);
